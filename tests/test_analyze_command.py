"""The command ``xling-analyze`` from its settings to the files it writes, and the sentences it ends with on errors."""

import functools
import html
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_factory import make_alignment, make_distances, make_measurements

import xling.commands.analyze
from xling.analysis.claims import read_claims
from xling.analysis.inputs.gather import add_distances, gather_study
from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.inputs.probes import supply_probes
from xling.analysis.pipeline import analyse
from xling.analysis.questions.alignment import compute_alignment
from xling.analysis.schema import KINDS, TABLES, Analysis
from xling.commands.analyze import analyze, main
from xling.commands.train import train
from xling.distances import compute_distances, representation_distances, vocabulary_overlap_distances
from xling.errors import XlingValueError
from xling.report import write_report
from xling.runs.study import Study

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
    assert tests["predictor"].tolist() == list(KINDS)
    assert (tests["n_pairs"] == 4).all()
    assert set(tests["controls"]) == {"same_script, same_family, both_indo_european"}
    assert (out / "report.html").stat().st_size > 10_000
    assert not list(out.rglob(".incomplete-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected runs=DIR (a study) or transfer_csv=FILE, found neither"),
        (["runs=a", "transfer_csv=b"], "found both"),
        (["transfer_csv=nowhere.csv"], "expected a CSV of scores at nowhere.csv, found none"),
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
    assert "did you mean 'permutations'" in capsys.readouterr().err


def test_neither_runs_nor_csv_is_refused_from_python_too(tmp_path):
    with pytest.raises(XlingValueError, match="found neither"):
        analyze(compute_distances, tmp_path)


def test_a_study_gives_a_suggestion_of_layers(tmp_path, monkeypatch):
    distances = make_distances()
    measured = make_measurements(distances, planted={("genetic", 2): -0.2}, n_layers=2)
    identity = {"source_language": "en", "strategy": "none", "seed": 1}
    runs = pd.DataFrame([{"path": "nowhere", "files": {}, "design": {}, **identity}])
    study = Study(measured.impact, measured.transfer, pd.DataFrame(), runs, [("sw/seed_9", "no manifest")])
    monkeypatch.setattr("xling.analysis.inputs.gather.load_study", lambda directory: study)

    class Simulated:
        source = "simulated"

        def to_table(self):
            return distances

    settings = Settings("default", resampling=Resampling(200, 50))
    analysis = analyze(lambda languages: Simulated(), tmp_path, runs="study", settings=settings)
    suggestion = json.loads((tmp_path / xling.commands.analyze.SUGGESTION_FILE).read_text(encoding="utf-8"))
    assert suggestion["distances"]["genetic"]["layers"] == [2]
    assert suggestion["study"] == "simulated"
    assert analysis.warnings[0] == "Skipped sw/seed_9: no manifest."
    assert {file.stem for file in (tmp_path / "tables").glob("*.csv")} == set(analysis.tables)


def test_a_real_study_is_analysed_with_distances_of_its_own_probes(make_config, tmp_path):
    for source in ("en", "de"):
        train(make_config(f"source_language={source}", "trainer.max_epochs=1"))
    settings = Settings("default", resampling=Resampling(50, 20))
    overlap = functools.partial(vocabulary_overlap_distances, weighting="types")
    measured, sentences = add_distances(gather_study(tmp_path), supply_probes(overlap, find_run(tmp_path)))
    assert sentences == []
    analysis = analyse(measured, settings)
    pairs = analysis.tables["pairs"]
    assert pairs["vocabulary_overlap"].between(0, 1).all()
    assert analysis.tables["correlations"].query("analysis == 'impact_vs_distance'")["n_pairs"].max() == 4
    representation = supply_probes(functools.partial(representation_distances, measure="cosine"), find_run(tmp_path))
    table = representation(languages=["de", "en", "sw"]).to_table()
    assert table.query("source_language != target_language")["representation"].gt(0).all()
    assert table["representation_coverage"].unique().tolist() == [36]
    with pytest.raises(XlingValueError, match="has probe sets of en, de, sw, not of 'tr'"):
        representation(languages=["de", "tr"])


def test_tables_of_an_earlier_analysis_do_not_stay(tmp_path):
    measured = make_measurements(make_distances(("de", "en", "ru")), sources=("en",), n_layers=1)
    pairs = compute_pairs(measured.transfer, measured.impact, measured.distances)
    write_report(Analysis({"pairs": pairs, "alignment": compute_alignment(make_alignment())}), tmp_path)
    (tmp_path / "tables" / "mine.csv").touch()
    write_report(Analysis({"pairs": pairs}), tmp_path)
    assert {file.name for file in (tmp_path / "tables").iterdir()} == {"pairs.csv", "pairs.tex", "mine.csv"}


def test_every_table_is_listed():
    transfer_and_impact = make_measurements(make_distances(("de", "en", "ru")), sources=("de", "en", "ru"), n_layers=1)
    strategies = make_measurements(
        make_distances(("de", "en", "ru")), sources=("de", "en", "ru"), n_layers=1, strategies=("none", "top_1")
    )
    strategies = replace(strategies, alignment=make_alignment())
    settings = Settings("both", resampling=Resampling(20, 20), claims=read_claims("paper"))
    not_recorded = {"concentration"}  # needs probe.uncertainty=[concentration], see test_concentration.py
    not_recorded |= {"gradients"}  # needs probe.gradients, see test_gradients.py
    not_recorded |= {"linear_probes"}  # needs probe.linear_probes, see test_linear_probes.py
    not_recorded |= {"interventions", "cause"}  # needs runs of an intervention, see test_interventions_comparison.py
    not_recorded |= {
        "trajectory",
        "half_times",
        "coefficients_over_time",
    }  # needs several validations, see test_trajectory.py
    assert set(analyse(strategies, settings).tables) == set(TABLES) - not_recorded
    missing = set(TABLES) - set(analyse(transfer_and_impact, settings).tables)
    assert missing == {"freezing", "alignment"} | not_recorded


def find_run(folder):
    return next(folder.rglob("manifest.json")).parent


def test_measured_distances_need_a_study():
    with pytest.raises(XlingValueError, match="measured on probe sets need a study: give runs=DIR"):
        supply_probes(vocabulary_overlap_distances, None)
    assert supply_probes(compute_distances, None) is compute_distances


def test_several_matrices_are_set_side_by_side_and_pooled(tmp_path, monkeypatch):
    languages = ("de", "en", "fr", "ru", "sw", "tr")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        rows = [f"{s},{t},{rng.uniform(0.5, 0.8):.3f}" for s in languages for t in languages]
        (tmp_path / f"{name}.csv").write_text("\n".join(["source,target,f1", *rows]), encoding="utf-8")
    out = tmp_path / "out"
    files = ",".join(str(tmp_path / f"{name}.csv") for name in ("one", "two"))
    run(monkeypatch, f"transfer_csv=[{files}]", f"output_dir={out}", "distances=individual", *FAST)
    pooled = pd.read_csv(out / "tables" / "comparison_pooled.csv")
    assert set(pooled["predictor"]) == set(KINDS)
    assert (pooled["n_studies"] == 2).all()
    assert pooled["r"].between(pooled["r_low"] - 1e-9, pooled["r_high"] + 1e-9).all()
    assert (out / "one" / "report.html").is_file()
    assert "Pooled over studies" in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, f"transfer_csv=[{tmp_path}/one.csv,{tmp_path}/one.csv]", f"output_dir={out}", *FAST)


def test_unknown_codes_are_named_at_once_and_left_out(tmp_path, monkeypatch, capsys):
    path = tmp_path / "codes.csv"
    languages = ["en", "de_Latn", "fr", "ru", "qqx", "qqy", "nah"]
    rows = [f"en,{language},0.{50 + i}" for i, language in enumerate(languages)]
    path.write_text("\n".join(["source,target,accuracy", *rows]), encoding="utf-8")
    run(
        monkeypatch,
        f"transfer_csv={path}",
        f"output_dir={tmp_path / 'out'}",
        "distances=individual",
        "controls=[]",
        *FAST,
    )
    page = html.unescape((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "No distances for qqx, qqy: expected an ISO 639-1" in page
    assert "'nah', a collective code" in page
    assert "de_Latn as de (script Latn)" in page


def test_a_source_without_data_is_named_as_the_cause_and_no_other_language(tmp_path, monkeypatch):
    path = tmp_path / "croatian.csv"
    rows = [f"hr,{language},0.{50 + i}" for i, language in enumerate(("de", "en", "fr", "ru", "tr", "es"))]
    path.write_text("\n".join(["source,target,accuracy", *rows]), encoding="utf-8")
    run(
        monkeypatch,
        f"transfer_csv={path}",
        f"output_dir={tmp_path / 'out'}",
        "distances=individual",
        "controls=[]",
        *FAST,
    )
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The phonological distance is missing for 6 of 6 pairs (no data for hr)." in page


SIX = ("de", "en", "fr", "ru", "sw", "tr")


def write_matrix(tmp_path, rows):
    path = tmp_path / "matrix.csv"
    path.write_text("\n".join(["source,target,accuracy", *rows]), encoding="utf-8")
    return path


def random_matrix(sources=SIX, targets=SIX):
    rng = np.random.default_rng(0)
    return [f"{s},{t},{rng.uniform(0.5, 0.8):.3f}" for s in sources for t in targets]


@pytest.mark.parametrize(
    ("rows", "sentence", "n_tested"),
    [
        (random_matrix()[:3] + random_matrix()[5:], "2 cells of source and target not measured: de→ru, de→sw", 6),
        (random_matrix(("en",)), "the design leaves nothing after source and target effects are removed", 6),
        (random_matrix(SIX, ("en",)), "the design leaves nothing after source and target effects are removed", 6),
        ([f"{s},{t},0.5" for s in SIX for t in SIX], "the outcome is constant over these pairs", 0),
        (random_matrix(SIX[:3], SIX[:3]), "fewer than 20 arrangements of the languages", 0),
        (random_matrix(SIX[:2], SIX[:2]), "2 pairs have both values, at least 3 are needed", 0),
        (random_matrix(SIX[:2], SIX[2:]), "all 48 arrangements of the languages are enumerated", 6),
    ],
    ids=["gaps", "one source", "one target", "constant", "three languages", "two languages", "no language is both"],
)
def test_a_poor_matrix_gives_a_sentence_and_what_remains(rows, sentence, n_tested, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = [
        f"transfer_csv={write_matrix(tmp_path, rows)}",
        f"output_dir={out}",
        "distances=individual",
        "controls=[]",
    ]
    run(monkeypatch, *arguments, *FAST)
    assert sentence in (out / "report.html").read_text(encoding="utf-8")
    tests = pd.read_csv(out / "tables" / "correlations.csv")
    assert tests["p_max_t"].notna().sum() == n_tested
    assert tests.loc[tests["p_max_t"].isna(), "reason"].ne("").all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (random_matrix() + random_matrix()[1:2], "repeats 1 rows, the first is study=external, source_language=de"),
        ([f"qq{s},qq{t},0.5" for s in "ab" for t in "ab"], "none of the languages is known: No distances for qqa, qqb"),
        ([f"{s},{s},0.5" for s in SIX], "nothing to analyse"),
        ([f"{s},{t}," for s in SIX for t in SIX], "nothing to analyse"),
    ],
    ids=["duplicates", "unknown codes", "diagonal", "no score"],
)
def test_a_useless_matrix_is_refused_in_one_sentence(rows, message, tmp_path, monkeypatch, capsys):
    arguments = [
        f"transfer_csv={write_matrix(tmp_path, rows)}",
        f"output_dir={tmp_path / 'out'}",
        "distances=individual",
    ]
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, *arguments, *FAST)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
