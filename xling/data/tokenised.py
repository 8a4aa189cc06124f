"""Tokenises examples once, and keeps them on disk as memory-mapped Arrow files that all runs share."""

import functools
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import pandas as pd
import pyarrow.compute
import torch
from transformers import PreTrainedTokenizerBase

from xling.data.batching import FILLER
from xling.data.examples import examples_fingerprint
from xling.data.lazy_tokenizer import LazyTokenizer
from xling.data.protocols import TaskData
from xling.errors import CorruptArtefactError, XlingError
from xling.machine.progress import track
from xling.storage.atomic import atomic_path, read_json, write_json
from xling.storage.cache_marks import mark_in_use
from xling.storage.hashing import content_key, file_sha256, sha256
from xling.storage.locks import waiting_lock

if TYPE_CHECKING:
    import datasets  # slow: otherwise imported only when data is loaded

log = logging.getLogger(__name__)

_LAYOUT = 2  # raised when the folder's layout changes: folders of an older version are then made anew and not refused
_ROWS = "rows"
_FACTS = "facts.json"
_PIECE = 10_000
"""Examples that are tokenised at once."""


@dataclass(frozen=True)
class TokenisedExamples(torch.utils.data.Dataset):
    """A map-style data set of one language and split.

    Attributes:
        name: name of split and language, e.g. ``dev.de``.
        rows: Arrow table with input_ids, (token_type_ids), example_id, group_id, length and the task's columns.
        fingerprint: sha256 of ids, order, texts, labels and tokenisation; sets with equal fingerprints are the same set.
        pad_token_id: id of the token that pads input_ids.
    """

    name: str
    rows: "datasets.Dataset"
    fingerprint: str
    pad_token_id: int

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict: ...

    @overload
    def __getitem__(self, index: list[int]) -> list[dict]: ...

    def __getitem__(self, index: int | list[int]) -> dict | list[dict]:
        """Return one row, or the rows of a batch that a batch sampler chose."""
        if isinstance(index, int):
            return self.rows[index]
        columns = self.rows[index]
        if index == [FILLER]:
            columns["example_id"] = [FILLER]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of tokens in each row, [n] int64."""
        return self.rows.data.column("length").to_numpy()

    @cached_property
    def example_ids(self) -> np.ndarray:
        """Ids of the rows, [n] int64, in the set's order."""
        return self.rows.data.column("example_id").to_numpy()

    @cached_property
    def pieces(self) -> np.ndarray:
        """Ids of the word pieces that occur in an example, and of the one that pads, each once, [n_pieces] int64."""
        found = pyarrow.compute.unique(pyarrow.compute.list_flatten(self.rows.data.column("input_ids")))
        return np.union1d(found.to_numpy(), [self.pad_token_id])

    @cached_property
    def group_ids(self) -> np.ndarray:
        """Ids of the rows' groups, [n] int64; rows of one group are not independent."""
        return self.rows.data.column("group_id").to_numpy()


def load_tokenised(
    frame: pd.DataFrame,
    name: str,
    task: TaskData,
    tokenizer: PreTrainedTokenizerBase | LazyTokenizer,
    max_length: int,
    cache_dir: Path,
) -> TokenisedExamples:
    """Tokenise `frame`, or memory-map what an earlier call made of the same content.

    Args:
        frame: examples, see :mod:`xling.data.examples`.
        name: name of the set in messages, e.g. ``dev.de``; it is no part of the cache's key.
        task: task that tokenises the examples.
        tokenizer: a fast tokenizer.
        max_length: largest number of tokens per row.
        cache_dir: folder shared by all runs; several processes may ask for the same examples at once.

    Raises:
        CorruptArtefactError: the files in the cache cannot be read, or have changed since they were written.
    """
    content = examples_fingerprint(frame, task.columns(frame))
    fingerprint = content_key(_LAYOUT, content, task.key(), tokenizer_key(tokenizer), max_length, length=64)
    folder = cache_dir / "tokenised" / fingerprint[:24]
    mark_in_use(folder)
    if not (folder / _FACTS).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(folder.with_name(f"{folder.name}.lock")):
            if not (folder / _FACTS).is_file():
                facts = {"name": name, "fingerprint": fingerprint, "pad_token_id": tokenizer.pad_token_id}
                _write(_tokenised(frame, name, task, tokenizer, max_length), folder, facts)
    rows, facts = _read(folder, fingerprint)
    return TokenisedExamples(name, rows, fingerprint, facts["pad_token_id"])


def _tokenised(
    frame: pd.DataFrame,
    name: str,
    task: TaskData,
    tokenizer: PreTrainedTokenizerBase | LazyTokenizer,
    max_length: int,
) -> "datasets.Dataset":
    """Tokenise some thousand examples at a time, since Python's lists take ten times the memory of the Arrow table."""
    import datasets

    starts = range(0, max(len(frame), 1), _PIECE)
    pieces = [
        datasets.Dataset.from_dict(
            task.tokenise(frame.iloc[start : start + _PIECE], cast(PreTrainedTokenizerBase, tokenizer), max_length)
        )
        for start in track(starts, f"tokenising {name}")
    ]
    return datasets.concatenate_datasets(pieces) if len(pieces) > 1 else pieces[0]


def _write(rows: "datasets.Dataset", folder: Path, facts: dict[str, Any]) -> None:
    import datasets

    lengths = rows.data.column("length").to_numpy()
    log.info("tokenising %s: %d examples, %.1f tokens on average", facts["name"], len(rows), lengths.mean())
    with atomic_path(folder) as temporary:
        datasets.disable_progress_bars()
        rows.save_to_disk(temporary / _ROWS)
        facts = facts | {"n_examples": len(rows)}
        write_json(temporary / _FACTS, facts | {"sha256": _digest(temporary / _ROWS, facts)})


def _read(folder: Path, fingerprint: str) -> tuple["datasets.Dataset", dict[str, Any]]:
    import datasets

    advice = f"delete {folder} and run again"
    try:
        facts = read_json(folder / _FACTS)
        if facts.pop("sha256", None) != _digest(folder / _ROWS, facts):
            raise CorruptArtefactError("a file is missing or has changed since it was written")
        rows = datasets.load_from_disk(str(folder / _ROWS))
    except (XlingError, OSError, ValueError) as error:
        raise CorruptArtefactError(f"the tokenised examples in {folder} cannot be read ({error}); {advice}") from error
    if facts.get("fingerprint") != fingerprint or facts.get("n_examples") != len(rows):
        raise CorruptArtefactError(f"the tokenised examples in {folder} are not those that were asked for; {advice}")
    return rows, facts


def _digest(folder: Path, facts: dict[str, Any]) -> str:
    """Hash the facts and the rows' files, since a flipped bit in memory-mapped Arrow data would silently be another token."""
    return sha256(content_key(facts), *(f"{path.name} {file_sha256(path)}" for path in sorted(folder.rglob("*"))))


@functools.lru_cache(maxsize=4)
def tokenizer_key(tokenizer: PreTrainedTokenizerBase | LazyTokenizer) -> str:
    """Hash a fast tokenizer's vocabulary and rules, without its mutable truncation and padding state.

    Costs a second for 250,000 pieces, so it is done once per tokenizer; a lazy one knows the hash of its files.
    """
    if isinstance(tokenizer, LazyTokenizer):
        return tokenizer.key
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    return content_key(state)
