import json
import sys

import pandas as pd
import pytest
from analysis_factory import make_distances, make_measurements

import xling.analyze
from xling.analysis.inputs import Settings
from xling.analysis.permuting import Resampling
from xling.analyze import analyze, main
from xling.distances import compute_distances
from xling.errors import XlingValueError
from xling.study import Study

FAST = ["permutations=100", "bootstraps=50", "mode=default"]


@pytest.fixture
def transfer_csv(tmp_path):
    path = tmp_path / "transfer.csv"
    rows = ["en,en,0.8", "en,de,0.7", "en,ru,0.65", "en,tr,0.6", "en,sw,0.5"]
    path.write_text("\n".join(["source_language,target_language,accuracy", *rows]), encoding="utf-8")
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["analyze.py", *map(str, arguments)])
    main()


def test_command_writes_tables_and_report(transfer_csv, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(monkeypatch, f"transfer_csv={transfer_csv}", f"output_dir={out}", "distances=individual", *FAST)
    tests = pd.read_csv(out / "tables" / "correlations.csv")
    assert tests["predictor"].tolist() == [
        "genetic",
        "geographic",
        "syntactic",
        "inventory",
        "phonological",
        "featural",
    ]
    assert (tests["n_pairs"] == 4).all()
    assert set(tests["controls"]) == {"same_script, same_family, both_indo_european"}
    assert (out / "report.html").stat().st_size > 10_000
    assert not list(out.rglob(".incomplete-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected runs=DIR (a study) or transfer_csv=FILE, found neither"),
        (["runs=a", "transfer_csv=b"], "found both"),
        (["transfer_csv=nowhere.csv"], "expected a CSV of accuracies at nowhere.csv, found none"),
        (["runs=nowhere"], "expected a folder with runs at nowhere, found none"),
    ],
)
def test_errors_are_one_sentence_and_status_1(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, *arguments)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_an_unknown_key_names_the_nearest(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "permutatons=10")
    assert "did you mean 'permutations'?" in capsys.readouterr().err


def test_neither_runs_nor_csv_is_refused_from_python_too(tmp_path):
    with pytest.raises(XlingValueError, match="found neither"):
        analyze(compute_distances, tmp_path)


def test_a_study_gives_a_suggestion_of_layers(tmp_path, monkeypatch):
    distances = make_distances()
    measured = make_measurements(distances, planted={("genetic", 2): -0.2}, n_layers=2)
    study = Study(measured.impact, measured.transfer, pd.DataFrame(), [("sw/seed_9", "no manifest")])
    monkeypatch.setattr("xling.analysis.gather.load_study", lambda directory: study)

    class Simulated:
        source = "simulated"

        def to_table(self):
            return distances

    settings = Settings("default", resampling=Resampling(200, 50))
    written = {}
    monkeypatch.setattr("xling.report.write_report", lambda analysis, folder: written.setdefault("analysis", analysis))
    analysis = analyze(lambda languages: Simulated(), tmp_path, runs="study", settings=settings)
    suggestion = json.loads((tmp_path / xling.analyze.SUGGESTION_FILE).read_text(encoding="utf-8"))
    assert suggestion["distances"]["genetic"]["layers"] == [2]
    assert suggestion["study"] == "simulated"
    assert written["analysis"] is analysis
    assert analysis.warnings[0] == "Skipped sw/seed_9: no manifest."
    assert {file.stem for file in (tmp_path / "tables").glob("*.csv")} == set(analysis.tables)
