"""Fast ways of reading many runs give what the plain ways give."""

import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from benchmarks.made_up_study import write_study
from xling.runs.below import concat_tables
from xling.runs.finding import find_runs
from xling.runs.study import load_study
from xling.runs.tables import IMPACT_FILE, TRANSFER_FILE
from xling.storage.yaml_text import parse_yaml


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    options = {
        "sources": ["en", "sw"],
        "targets": ["en", "sw", "de"],
        "strategies": ["none", "bottom_2"],
        "seeds": [1, 2],
    }
    return write_study(tmp_path_factory.mktemp("runs"), **options)


@pytest.mark.parametrize(("table", "file"), [("impact", IMPACT_FILE), ("transfer", TRANSFER_FILE)])
def test_tables_of_a_study_are_those_of_its_runs_one_below_the_other(study, table, file):
    loaded = load_study(study)
    assert loaded.skipped == []
    expected = pd.concat([pd.read_parquet(run / file) for run in find_runs(study)[0]], ignore_index=True)
    pd.testing.assert_frame_equal(getattr(loaded, table), expected)


def frames():
    plain = pd.DataFrame({"name": ["a", "b"], "n": [1, 2], "x": [0.5, None], "is_so": [True, False]})
    yield "alike", [plain, plain.assign(n=3), plain]
    yield "one alone", [plain]
    yield "a column more", [plain, plain.assign(more=[1, 2]), plain]
    yield "a column less", [plain, plain.drop(columns="x"), plain]
    yield "another type", [plain, plain.assign(n=[1.5, 2.5]), plain]
    yield "empty ones", [plain.head(0), plain, plain.head(0), plain]
    yield "all empty", [plain.head(0), plain.head(0)]
    categories = plain.assign(name=plain["name"].astype("category"))
    yield "categories", [categories, categories.assign(name=pd.Categorical(["c", "d"]))]
    yield "nothing but missing text", [plain.assign(name=None), plain]


@pytest.mark.parametrize("tables", [pytest.param(tables, id=name) for name, tables in frames()])
def test_arrow_tables_below_each_other_are_what_pandas_makes_of_them(tables):
    arrow = [pa.Table.from_pandas(table, preserve_index=False) for table in tables]
    read = [table.to_pandas() for table in arrow]
    filled = [table for table in read if len(table)]
    expected = pd.concat(filled, ignore_index=True) if filled else read[0]
    pd.testing.assert_frame_equal(concat_tables(arrow), expected)
    mixed = [table if index % 2 else read[index] for index, table in enumerate(arrow)]
    pd.testing.assert_frame_equal(concat_tables(mixed), expected)


def test_yaml_is_read_as_its_python_reader_does(study):
    texts = [(run / "config.yaml").read_text(encoding="utf-8") for run in find_runs(study)[0]]
    odd = [
        "",
        "a: 1e5",
        "no: yes",
        "[1, {b: 2.0}]",
        "a: |\n  x\n  y\n",
        "x: ~\n# c\n",
        "день: 'ü'",
        "- 2026-11-28\n- 0o7\n- 010",
    ]
    for text in [*texts, *odd]:
        assert parse_yaml(text) == yaml.load(text, Loader=yaml.SafeLoader)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_yaml_of_endless_depth_is_an_error_and_no_crash(text):
    lines = ["from xling.storage.yaml_text import parse_yaml", f"try: parse_yaml({text[:4]!r} * 100_000)"]
    code = "\n".join([*lines, "except RecursionError: print('refused')"])
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "refused\n"


def test_yaml_that_names_a_class_is_refused():
    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_who_uses_the_cache_is_found_without_torch(study):
    code = (
        "import sys; from pathlib import Path; from xling.runs.cache_users import find_users\n"
        "print(len(find_users(Path(sys.argv[1]), Path('/cache'))), sorted({'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(study)], capture_output=True, text=True, check=True)
    n_base, n_data, n_models = 1, 5, 1
    assert done.stdout.split(" ", 1) == [str(n_base + n_data + n_models), "[]\n"]
