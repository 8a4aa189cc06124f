"""What a planned study could find: more sources and less noise find smaller correlations, and the command prints it."""

import io

import numpy as np
import pandas as pd
import pytest

from xling.analysis.questions.design import DESIGN, Noise, assess_design
from xling.commands.design import main
from xling.errors import XlingValueError

LANGUAGES = list("abcdefghij")


def make_distances():
    at = np.random.default_rng(0).random((2, len(LANGUAGES), 2))
    squares = np.linalg.norm(at[:, :, None] - at[:, None], axis=-1)
    return {kind: pd.DataFrame(own, LANGUAGES, LANGUAGES) for kind, own in zip(("near", "far"), squares, strict=True)}


def test_more_sources_find_smaller_correlations():
    sizes = {}
    for n in (1, 3, 10):
        table = assess_design(LANGUAGES[:n], LANGUAGES, make_distances())
        assert list(table.columns) == list(DESIGN)
        assert (table["main"] == ("pearson" if n == 1 else "demeaned")).all()
        assert (table["detectable_family_wise"] >= table["detectable_r"] - 1e-9).all()
        sizes[n] = table["detectable_family_wise"].max()
    assert sizes[1] > sizes[3] > sizes[10]


def test_noise_is_that_of_seeds_and_examples():
    noise = Noise(pair_sd=0.02, seed_sd=0.01, seeds=4, example_sd=0.5, examples=2_500)
    assert noise.reliability == pytest.approx(0.02**2 / (0.02**2 + 0.01**2 / 4 + 0.25 / 2_500))
    plain = assess_design(LANGUAGES, LANGUAGES, make_distances())
    noisy = assess_design(LANGUAGES, LANGUAGES, make_distances(), noise)
    assert noisy["detectable_true_r"].to_numpy() == pytest.approx(
        plain["detectable_family_wise"].to_numpy() / noise.reliability**0.5
    )
    hopeless = assess_design(LANGUAGES, LANGUAGES, make_distances(), Noise(0.001, 0.1))
    assert hopeless["detectable_true_r"].isna().all()
    assert hopeless["reason"].str.contains("so noisy").all()


def test_designs_without_a_test_say_so():
    three = assess_design(["a"], ["b", "c", "d"], make_distances())
    assert three["reason"].str.contains("fewer than 20 arrangements").all()
    with pytest.raises(XlingValueError, match="at least one pair of different languages"):
        assess_design(["a"], ["a"], make_distances())


def test_the_command_prints_a_table(capsys):
    assert (
        main(
            [
                "--sources",
                "en,de,fr",
                "--targets",
                "en,de,fr,ru,tr,fi",
                "--kinds",
                "genetic,syntactic",
                "--pair-sd",
                ".02",
            ]
        )
        == 0
    )
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table["predictor"].tolist() == ["genetic", "syntactic"]
    assert (table["n_pairs"] == 15).all()
    assert table["reliability"].between(0, 1).all()


def test_the_help_explains_every_column(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in DESIGN)
    assert "with a probability of 80 %." in text


def test_the_command_names_an_unknown_language_and_a_wrong_number(capsys):
    assert main(["--sources", "en", "--targets", "qqx,de,fr,ru,tr"]) == 1
    assert "got 'qqx'" in capsys.readouterr().err
    for arguments in (["--seeds", "0"], ["--pair-sd", "0"], ["--seed-sd", "-1"]):
        with pytest.raises(SystemExit):
            main(["--sources", "en", "--targets", "de", *arguments])
    assert "expected a count of at least 1" in capsys.readouterr().err
