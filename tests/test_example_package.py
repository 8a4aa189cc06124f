"""A package of somebody else adds a measure, a strategy, a distance, a task and a figure without touching a file of ours."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLE = Path(__file__).parent / "example_package"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An installed copy of the example package: its folder and its metadata on the path, as pip leaves them."""
    import os
    import shutil

    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "xling_example", folder / "xling_example")
    metadata = folder / "xling_example-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: xling-example\nVersion: 0.1\n")
    import tomllib

    groups = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return os.environ | {"PYTHONPATH": str(folder)}


def run(environment, *words, cwd):
    code = "import sys; from xling.commands.start import train, analyze; {'train': train, 'analyze': analyze}[sys.argv.pop(1)]()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_a_run_an_analysis_and_a_report_show_all_five(environment, tmp_path):
    small = ["model=tiny_bert", "study=theirs", "data.languages=[en,de,sw,ru]", "data.batch_size=16"]
    small += ["data.source.n_premises={train: 20, probe: 8}", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    small += ["optimizer.learning_rate=1e-3", f"cache_dir={tmp_path}/cache"]
    theirs = ["probe.similarity=[cka_debiased,cosine]", "freeze.strategy=every_other", "+freeze.start=2"]
    theirs += ["data.task._target_=agreement", "data.task.labels=[yes_,no_]".replace("_", "")]
    run(environment, "train", "-m", "source_language=en,de", *small, *theirs, cwd=tmp_path)
    folder = tmp_path / "runs" / "theirs" / "en" / "every_other_from_2" / "seed_42"
    impact = pd.read_parquet(folder / "impact.parquet")
    assert "cosine" in set(impact["measure"])
    assert sorted(impact.loc[impact["is_frozen"], "layer"].unique()) == [2]
    analysis = ["runs=runs/theirs", "output_dir=results", "distances=own", "distances.source=word_order"]
    run(environment, "analyze", *analysis, "permutations=50", "bootstraps=20", cwd=tmp_path)
    pairs = pd.read_csv(tmp_path / "results" / "tables" / "pairs.csv")
    assert pairs.loc[(pairs["source_language"] == "en") & (pairs["target_language"] == "de"), "word_order"].eq(1).all()
    measures = pd.read_csv(tmp_path / "results" / "tables" / "correlations_measures.csv")
    assert "cosine" in set(measures["measure"])
    assert (tmp_path / "results" / "figures" / "extremes.png").is_file()
    assert (tmp_path / "results" / "figures" / "measures.png").is_file()
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "Best and worst pairs" in page
    assert "cosine" in page


def test_a_name_that_no_package_registers_is_one_sentence(tmp_path):
    code = "from xling.commands.start import train; train()"
    words = ["model=tiny_bert", "freeze.strategy=every_othr", f"cache_dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "unknown freezing strategy 'every_othr'" in done.stderr
    assert "Traceback" not in done.stderr
