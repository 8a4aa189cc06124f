"""Finds source, target and score among the columns of a published table, under the names that the field uses."""

import pandas as pd

from xling.errors import XlingValueError, close_matches

SOURCE = (
    "source_language",
    "source",
    "source_lang",
    "src",
    "src_lang",
    "train_lang",
    "train_language",
    "transfer_lang",
)
TARGET = (
    "target_language",
    "target",
    "target_lang",
    "tgt",
    "tgt_lang",
    "test_lang",
    "test_language",
    "eval_lang",
    "task_lang",
)
"""The first one that a table has is taken. LangRank (Lin et al. 2019) calls the language of the task ``task_lang`` and the one
that transfers to it ``transfer_lang``; other public files use the two the other way round, hence `swap`."""

METRICS = (
    *(
        "accuracy",
        "acc",
        "macro_f1",
        "f1_macro",
        "micro_f1",
        "f1",
        "exact_match",
        "em",
        "las",
        "uas",
        "bleu",
        "spbleu",
        "chrf",
    ),
    *("chrf++", "rouge", "mrr", "map", "ndcg", "spearman", "pearson", "correlation"),
)
SPELLED = {"acc": "accuracy", "f1_macro": "macro_f1", "em": "exact_match"}
"""A metric's usual name, where a table has another one."""

_AMBIGUOUS = ("transfer_lang", "task_lang")
_OTHERS = ("study", "strategy", "seed", "epoch", "step", "n_examples", "metric")


def name_columns(table: pd.DataFrame, swap: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Rename columns to source_language, target_language and score, and state the metric.

    Args:
        table: table as it was read; names are compared in lower case.
        swap: read the source's column as the target's and the reverse.

    Returns:
        The table with a column metric, unless it has no score, and sentences on what was not read as it stands.

    Raises:
        XlingValueError: there is no column for the source, the target or the score, or there are several for the score.
    """
    table = table.rename(columns={column: str(column).strip().lower() for column in table.columns})
    source, target = _find(table, SOURCE, "source_language"), _find(table, TARGET, "target_language")
    if swap:
        source, target = target, source
    sentences = []
    if {source, target} & set(_AMBIGUOUS):
        how = "as swap_languages=true asks" if swap else "swap_languages=true reads them the other way round"
        sentences.append(f"Column {source!r} was read as the source and {target!r} as the target ({how}).")
    elif swap:
        sentences.append(
            f"Column {source!r} was read as the source and {target!r} as the target, as swap_languages=true asks."
        )
    score = _find_score(table, {source, target})
    metric = SPELLED.get(score, score)
    if score not in METRICS and score != "score":
        sentences.append(f"Column {score!r}, the only one left with numbers, was read as the score.")
    table = table.rename(columns={source: "source_language", target: "target_language", score: "score"})
    return (table if "metric" in table else table.assign(metric=metric)), sentences


def _find(table: pd.DataFrame, names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in table:
            return name
    near = close_matches(what, table.columns)
    raise XlingValueError(
        f"the transfer_csv table needs a column {what!r} (or {', '.join(names[1:])}), found {list(table.columns)}{near}"
    )


def _find_score(table: pd.DataFrame, taken: set[str]) -> str:
    if "score" in table:
        return "score"
    free = [column for column in table if column not in taken and column not in _OTHERS]
    found = [column for column in free if column in METRICS]
    if not found:
        found = [column for column in free if pd.to_numeric(table[column], errors="coerce").notna().any()]
    if len(found) == 1:
        return found[0]
    if not found:
        near = close_matches("score", table.columns)
        raise XlingValueError(f"the transfer_csv table needs a column 'score', found {list(table.columns)}{near}")
    raise XlingValueError(
        f"the transfer_csv table needs one column of scores, found {', '.join(found)}; call the one that is wanted 'score'"
    )
