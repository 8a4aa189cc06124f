"""`python -m xling.distances` prints a matrix that reads back, or one sentence."""

import io
import subprocess
import sys

import pandas as pd
import pytest

from xling.distances import compute_distances
from xling.distances.__main__ import main


def test_the_command_prints_the_matrix_as_csv():
    words = [sys.executable, "-m", "xling.distances", "phonological", "de", "ur", "swh", "--source", "individual"]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    printed = pd.read_csv(io.StringIO(result.stdout), index_col=0)
    expected = compute_distances("phonological", ["de", "ur", "swh"], "individual").values["phonological"]
    pd.testing.assert_frame_equal(printed, expected)
    assert result.stderr == ""


def test_warnings_stand_on_stderr_in_a_line_each(capsys):
    assert main(["genetic", "ar", "de", "--source", "paper"]) == 0
    out, err = capsys.readouterr()
    assert out == ",ar,de\nar,0.0,1.0\nde,1.0,0.0\n"
    assert err.count("warning: ") == len(err.splitlines()) == 2


def test_coverage_can_be_printed(capsys):
    main(["phonological", "de", "ur", "--coverage"])
    assert capsys.readouterr().out == ",de,ur\nde,25,0\nur,0,0\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["genetic", "de", "xxyz"], "error: expected an ISO 639-1 or ISO 639-3 code"),
        (["kind", "de", "en"], "error: unknown distance kind 'kind'"),
        (["genetic", "de", "en", "--source", "papers"], "did you mean 'paper'"),
    ],
)
def test_an_error_is_one_sentence_and_status_1(words, sentence, capsys):
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_wrong_usage_is_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["genetic"])
    assert stop.value.code == 2
    assert "LANG" in capsys.readouterr().err
