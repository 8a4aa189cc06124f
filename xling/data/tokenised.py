"""Tokenised examples: made once, kept on disk as Arrow, memory-mapped, shared by all runs."""

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from transformers import PreTrainedTokenizerBase

from xling.atomic import atomic_path, read_json, write_json
from xling.data.examples import LABELS, examples_fingerprint
from xling.errors import CorruptArtefactError, XlingError
from xling.hashing import content_key

log = logging.getLogger(__name__)

_ROWS = "rows"
_FACTS = "facts.json"


@dataclass(frozen=True)
class TokenisedExamples(torch.utils.data.Dataset):
    """A map-style data set of one language and split.

    Attributes:
        name: e.g. ``dev.de``.
        rows: Arrow table with input_ids, (token_type_ids), label, example_id, premise_id, length.
        fingerprint: sha256 of ids, order, sentences, labels and tokenisation; equal means the same probe set.
    """

    name: str
    rows: "datasets.Dataset"  # noqa: F821  (imported only when data is loaded)
    fingerprint: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | list[int]) -> dict | list[dict]:
        """One row, or the rows of a batch that a batch sampler chose."""
        if isinstance(index, int):
            return self.rows[index]
        columns = self.rows[index]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens per example, [n] int64."""
        return np.asarray(self.rows["length"])

    @cached_property
    def example_ids(self) -> np.ndarray:
        """Stable ids, [n] int64, in the set's order."""
        return np.asarray(self.rows["example_id"])

    @cached_property
    def premise_ids(self) -> np.ndarray:
        """Id of each example's premise, [n] int64: examples that share one are not independent."""
        return np.asarray(self.rows["premise_id"])


def tokenise(frame: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Sequence]:
    """Encode premise and hypothesis as one sequence of at most `max_length` tokens, cutting the premise first.

    Returns:
        Columns of equal length: input_ids (and token_type_ids where the model has them), label, example_id,
        premise_id, length.
    """
    pairs = list(zip(frame["premise"], frame["hypothesis"], strict=True))
    encoded = tokenizer(pairs, truncation=False, return_attention_mask=False, verbose=False)
    columns = {name: list(encoded[name]) for name in ("input_ids", "token_type_ids") if name in encoded}
    for index, pair in enumerate(pairs):
        if len(columns["input_ids"][index]) > max_length:
            cut = _cut(*pair, tokenizer, max_length)
            for name, values in columns.items():
                values[index] = cut[name]
    return columns | {
        "label": [LABELS.index(label) for label in frame["label"]],
        "example_id": frame["example_id"].tolist(),
        "premise_id": frame["premise_id"].tolist(),
        "length": [len(ids) for ids in columns["input_ids"]],
    }


def _cut(premise: str, hypothesis: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict:
    room = max_length - len(tokenizer("", hypothesis, truncation=False, verbose=False)["input_ids"])
    # a hypothesis that alone leaves no room for one premise token is cut as well
    strategy = "only_first" if room > 0 else "longest_first"
    return tokenizer(premise, hypothesis, truncation=strategy, max_length=max_length)


def load_tokenised(
    frame: pd.DataFrame, name: str, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_dir: Path
) -> TokenisedExamples:
    """Tokenise `frame`, or memory-map what an earlier call made of the same content.

    Args:
        frame: examples, see :mod:`xling.data.examples`.
        name: e.g. ``dev.de``; for messages only.
        tokenizer: a fast tokenizer.
        max_length: tokens per example at most.
        cache_dir: folder shared by all runs; safe when several processes start at once.

    Raises:
        CorruptArtefactError: what the cache holds cannot be read.
    """
    fingerprint = content_key(examples_fingerprint(frame), tokenizer_key(tokenizer), max_length, length=64)
    folder = cache_dir / "tokenised" / fingerprint[:24]
    if not (folder / _FACTS).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / _FACTS).is_file():
                _write(tokenise(frame, tokenizer, max_length), folder, name, fingerprint)
    return TokenisedExamples(name, _read(folder, fingerprint), fingerprint)


def _write(columns: dict[str, Sequence], folder: Path, name: str, fingerprint: str) -> None:
    import datasets

    log.info(
        "tokenising %s: %d examples, %.1f tokens on average", name, len(columns["length"]), np.mean(columns["length"])
    )
    with atomic_path(folder) as temporary:
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(columns).save_to_disk(temporary / _ROWS)
        write_json(temporary / _FACTS, {"name": name, "fingerprint": fingerprint, "n_examples": len(columns["length"])})


def _read(folder: Path, fingerprint: str) -> "datasets.Dataset":  # noqa: F821
    import datasets

    advice = f"delete {folder} and run again"
    try:
        facts = read_json(folder / _FACTS)
        rows = datasets.load_from_disk(str(folder / _ROWS))
    except (XlingError, OSError, ValueError) as error:
        raise CorruptArtefactError(f"the tokenised examples in {folder} cannot be read ({error}); {advice}") from error
    if facts.get("fingerprint") != fingerprint or facts.get("n_examples") != len(rows):
        raise CorruptArtefactError(f"the tokenised examples in {folder} are not those that were asked for; {advice}")
    return rows


@functools.lru_cache(maxsize=4)
def tokenizer_key(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash a fast tokenizer's vocabulary and rules, without its mutable truncation and padding state.

    Costs a second for 250,000 pieces, so it is done once per tokenizer.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    return content_key(state)
