"""LaTeX tables are those of pandas, byte for byte."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xling.report.latex import LONG_TABLE, escape, latex_table


def of_pandas(table):
    return table.to_latex(index=False, escape=True, na_rep="--", float_format="%.3f", longtable=len(table) > LONG_TABLE)


def columns():
    yield "floats", [0.12345, None, np.inf, -0.0, 1e-9, 12345678.9]
    yield "single", pd.Series([0.1, np.nan, 2, 3, 4, 5], dtype="float32")
    yield "numbers", [1, 2, 3, 4, 5, -6]
    yield "unsigned", pd.Series([1, 2, 3, 4, 5, 255], dtype="uint8")
    yield "truths", [True, False, True, True, False, False]
    yield "text", ["a_b", "x & y", "50%", "~^\\{}#$", "", None]
    yield "spaces", ["~ a", "^ b", "\\ c", "\\\\", "~~ ^^ ", " "]
    yield "categories", pd.Categorical(list("ab_a&c"))
    yield "mixed", [1.5, "x_y", None, 2, True, (1, 2)]
    yield "lists", [[1, 2], [], ["a_b"], [None], [0.5], [1]]
    yield "nullable", pd.array([1, None, 3, 4, 5, 6], dtype="Int64")
    yield "nullable floats", pd.array([0.5, None, 3, 4, 5, 6], dtype="Float64")
    yield "times", pd.to_datetime(["2026-11-28", None, "2026-11-29", "2026-11-28", None, "2026-12-01"])
    yield (
        "numpy floats",
        pd.Series([np.float32(0.5), np.float64(0.25), np.int64(3), np.bool_(True), "a", None], dtype="object"),
    )


CASES = dict(columns())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("repeats", [1, 10], ids=["short", "long"])
def test_a_column_is_set_as_pandas_sets_it(name, repeats):
    table = pd.concat([pd.DataFrame({f"the {name}_": CASES[name]})] * repeats, ignore_index=True)
    assert latex_table(table) == of_pandas(table)


@pytest.mark.parametrize("n_rows", [0, 1, LONG_TABLE, LONG_TABLE + 1])
def test_a_table_is_set_as_pandas_sets_it(n_rows):
    whole = pd.concat([pd.DataFrame(CASES)] * 10, ignore_index=True)
    table = whole.head(n_rows)
    assert latex_table(table) == of_pandas(table)


def test_a_table_without_columns_and_one_with_a_column_twice():
    assert latex_table(pd.DataFrame()) == of_pandas(pd.DataFrame())
    twice = pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"])
    assert latex_table(twice).count("1 & a") == 1


@given(st.lists(st.text(alphabet="ab \\&%$#_{}~^é\n", max_size=8), min_size=1, max_size=3))
def test_any_text_is_escaped_as_pandas_escapes_it(texts):
    table = pd.DataFrame({"text": texts})
    assert latex_table(table) == of_pandas(table)
    assert all(escape(text) in latex_table(table) for text in texts)
