"""What an example is, wherever it comes from, and how a number of them is chosen."""

import hashlib
import logging
from collections.abc import Callable

import numpy as np
import pandas as pd

from xling.errors import XlingValueError
from xling.hashing import rows_fingerprint

log = logging.getLogger(__name__)

LABELS = ("entailment", "neutral", "contradiction")
"""Class indices 0, 1, 2, as in facebook/xnli."""

COLUMNS = ("example_id", "premise_id", "premise", "hypothesis", "label")

ExampleSource = Callable[[str, str], pd.DataFrame]
"""Maps (language, split) to a frame with :data:`COLUMNS`: example_id int64 and unique, label one of :data:`LABELS`.

The same example_id means the same content in every language of a parallel set.
"""


def check_examples(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return `frame` if it holds usable examples.

    Args:
        frame: :data:`COLUMNS`.
        where: what to call it in an error, e.g. a file and language.

    Raises:
        XlingValueError: no rows, a missing column, an unknown label, or an id that occurs twice.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise XlingValueError(
            f"{where}: expected columns {', '.join(COLUMNS)}, found no {', '.join(missing)}; add them"
        )
    if frame.empty:
        raise XlingValueError(f"{where}: expected at least one example, found none; check the split and the limits")
    unknown = sorted(set(frame["label"]) - set(LABELS), key=str)
    if unknown:
        raise XlingValueError(f"{where}: unknown label {unknown[0]!r}; expected one of {', '.join(LABELS)}")
    blank = frame["premise"].str.strip().eq("") | frame["hypothesis"].str.strip().eq("")
    if blank.any():  # machine-translated training text has some; the label still holds for the other sentence
        log.warning(
            "%s: %d of %d examples have an empty premise or hypothesis; they are kept", where, blank.sum(), len(frame)
        )
    if frame["example_id"].duplicated().any():
        first = frame.loc[frame["example_id"].duplicated(), "example_id"].iloc[0]
        raise XlingValueError(f"{where}: example_id {first} occurs twice; ids must be unique within a split")
    return frame.reset_index(drop=True)


def limit_examples(frame: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """Keep at most `limit` rows, whole premises only, chosen by a hash of the premise's id.

    The choice depends on ids and `seed` alone: every language of a parallel set keeps the same rows, files sorted by
    label do no harm, and a larger limit keeps what a smaller one kept. Rows stay in their order.

    Args:
        frame: examples as of :func:`check_examples`.
        limit: number of rows, or None for all.
        seed: another seed, another choice.

    Raises:
        XlingValueError: `limit` is below the rows of one premise.
    """
    if limit is None or limit >= len(frame):
        return frame
    sizes = frame.groupby("premise_id", sort=False).size()
    order = sorted(sizes.index, key=lambda premise: hashlib.sha256(f"{seed}/{premise}".encode()).digest())
    kept = np.cumsum(sizes.loc[order].to_numpy()) <= limit
    if not kept.any():
        raise XlingValueError(
            f"a limit of {limit} rows holds not even one premise ({sizes.iloc[0]} rows); choose a larger limit"
        )
    chosen = set(np.asarray(order)[kept].tolist())
    return frame[frame["premise_id"].isin(chosen)].reset_index(drop=True)


def examples_fingerprint(frame: pd.DataFrame) -> str:
    """Fingerprint ids, order, sentences and labels (sha256)."""
    return rows_fingerprint(*(frame[column] for column in ("example_id", "premise", "hypothesis", "label")))
