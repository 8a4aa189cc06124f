"""The interaction of XLM-R's transfer matrix with distance: figures computed beforehand, by other code."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from xling.commands.analyze import main

PUBLISHED = Path(__file__).parent / "published"
MATRIX, LEXICAL = PUBLISHED / "xnli_xlmr_f1_15x15.csv", PUBLISHED / "asjp_ldnd_15x15.csv"
EXPECTED = {  # demeaned r, max-T p over the six
    "genetic": (-0.300, 0.014),
    "geographic": (-0.415, 0.002),
    "syntactic": (-0.279, 0.022),
    "inventory": (-0.066, 0.908),
    "featural": (-0.246, 0.047),
    "lexical": (-0.321, 0.008),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    kinds = ",".join(kind for kind in EXPECTED if kind != "lexical")
    arguments = [f"transfer_csv={MATRIX.resolve()}", f"output_dir={out}", "mode=default", "controls=[]"]
    arguments += [
        "distances=individual",
        f"distances.kinds=[{kinds}]",
        f"more_distances={{lexical: {LEXICAL.resolve()}}}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xling-analyze", *arguments])
        main()
    return out


def read(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv")


def test_coefficients_beyond_source_and_target_come_out_to_the_third_decimal(tables):
    tests = read(tables, "correlations").set_index("predictor")
    assert (tests["main"] == "demeaned").all()
    assert tests["r"].round(3).to_dict() == {kind: r for kind, (r, _) in EXPECTED.items()}


@pytest.mark.parametrize("kind", EXPECTED)
def test_family_wise_p_values_agree_within_their_monte_carlo_error(tables, kind):
    p = EXPECTED[kind][1]
    found = read(tables, "correlations").set_index("predictor").loc[kind, "p_max_t_demeaned"]
    assert found == pytest.approx(p, abs=0.0005 + 4 * (2 * p * (1 - p) / 10_000) ** 0.5)  # both were drawn, and rounded


def test_little_variance_is_left_to_pairs(tables):
    shares = read(tables, "variance_shares").set_index("outcome")
    assert shares.loc["score", "rest"] == pytest.approx(0.0167, abs=0.00005)


def test_the_page_begins_with_the_interaction(tables):
    page = (tables / "report.html").read_text(encoding="utf-8")
    short = page[page.index("In short") : page.index("Read with care")]
    assert "1.7\xa0% is left to single pairs and noise" in short
    assert (
        "shown for genetic, geographic, syntactic, featural and lexical distance. Not shown for inventory distance"
        in short
    )
    assert "Strongest: geographic distance, r\xa0=\xa0−.42" in short
    assert "5 differ from 0 family-wise" in page[page.index("<main") :]
