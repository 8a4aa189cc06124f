"""Starts an encoder in the middle, from the stored output of its lowest layers.

Where these layers are frozen and have no dropout, their output for an example never changes. It is computed once, kept on disk, and
later epochs and runs with other seeds start from it.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from xling.errors import UnreachableError, XlingValueError
from xling.models.config import config_of
from xling.models.fast.prefixed_examples import PrefixStates, prefix_bytes
from xling.models.layers import ARCHITECTURES, Architecture
from xling.storage.atomic import atomic_path
from xling.storage.cache_marks import mark_in_use
from xling.storage.hashing import content_key
from xling.storage.locks import waiting_lock

log = logging.getLogger(__name__)

STARTS_INSIDE = ("bert", "roberta", "xlm-roberta", "distilbert")
"""transformers' ``config.model_type`` of encoders whose blocks take nothing but hidden states and mask."""

Batch = dict[str, Tensor]


def prefix_layer(frozen: Iterable[int]) -> int | None:
    """The highest layer of an unbroken run of frozen ones from the embeddings up; None if these are not frozen.

    >>> prefix_layer([0, 1, 2, 5]), prefix_layer([0]), prefix_layer([1, 2])
    (2, 0, None)
    """
    frozen = set(frozen)
    return next((layer - 1 for layer in range(1, len(frozen) + 2) if layer not in frozen), 0) if 0 in frozen else None


@contextmanager
def blocks_after(encoder: nn.Module, layer: int, hidden_states: Tensor) -> Iterator[None]:
    """Have the encoder ignore its tokens within the block, and run the blocks above `layer` on `hidden_states`.

    Args:
        encoder: a Hugging Face encoder of a type in `STARTS_INSIDE`.
        layer: 0 = the embeddings alone are left out, i = the lowest i blocks too.
        hidden_states: output of `layer`, [batch, sequence, hidden].

    Raises:
        XlingValueError: encoders of this architecture cannot start at an inner layer.
    """
    with (
        _replaced(encoder, _architecture(encoder).embeddings, _Given(hidden_states)),
        _some_blocks(encoder, layer, None),
    ):
        yield


@contextmanager
def blocks_up_to(encoder: nn.Module, layer: int) -> Iterator[None]:
    """Have the encoder end after block `layer` within the block of code; its output 0 is ``hidden_states[layer]``."""
    with _some_blocks(encoder, 0, layer):
        yield


class _Given(nn.Module):
    def __init__(self, hidden_states: Tensor) -> None:
        super().__init__()
        self.hidden_states = hidden_states

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.hidden_states


def _architecture(encoder: nn.Module) -> Architecture:
    model_type = config_of(encoder).model_type
    if model_type not in STARTS_INSIDE:
        raise XlingValueError(
            f"cache_frozen=true works for {', '.join(STARTS_INSIDE)}, not for {model_type}; set cache_frozen=false"
        )
    return ARCHITECTURES[model_type]


@contextmanager
def _some_blocks(encoder: nn.Module, start: int, stop: int | None) -> Iterator[None]:
    path = _architecture(encoder).blocks
    blocks = cast(nn.ModuleList, encoder.get_submodule(path))  # children() would drop a block that layers share
    with _replaced(encoder, path, nn.ModuleList(list(blocks)[start:stop])):
        yield


@contextmanager
def _replaced(encoder: nn.Module, path: str, substitute: nn.Module) -> Iterator[None]:
    parent, _, name = path.rpartition(".")
    owner = encoder.get_submodule(parent)
    original = getattr(owner, name)
    setattr(owner, name, substitute)
    try:
        yield
    finally:
        setattr(owner, name, original)


def store_prefix(
    encoder: nn.Module,
    layer: int,
    lengths: Sequence[int] | np.ndarray,
    batches: Iterable[tuple[Sequence[int], Batch]],
    folder: Path,
    key: Sequence[Any],
) -> PrefixStates:
    """Compute the output of `layer` for every example, unless it is stored already, and open the file with it.

    Args:
        encoder: encoder whose layers up to `layer` have no dropout; it is left in the mode it was in.
        layer: see :func:`blocks_after`.
        lengths: number of tokens in each example, [n].
        batches: pairs (positions of examples, inputs of the encoder) that cover every example once; padding follows the real
            tokens.
        folder: folder of all stored prefixes; where several processes ask at once, one computes and the others wait.
        key: everything the content depends on besides `layer`, such as weights and examples.

    Raises:
        CorruptArtefactError: the stored file has another size than these examples need.
        UnreachableError: the disk has too little space.
        XlingValueError: encoders of this architecture cannot start at an inner layer.
    """
    hidden_size = config_of(encoder).hidden_size
    path = folder / f"{content_key(*key, layer)}.f32"
    folder.mkdir(parents=True, exist_ok=True)
    mark_in_use(path)
    if path.is_file():  # perhaps in a cache that one may only read
        return PrefixStates(path, lengths, hidden_size)
    with waiting_lock(path.with_name(f"{path.name}.lock")):
        if not path.is_file():
            _check_space(folder, prefix_bytes(lengths, hidden_size), layer, len(lengths))
            with atomic_path(path) as temporary:
                states = PrefixStates(temporary, lengths, hidden_size, is_new=True)
                _fill(states, encoder, layer, lengths, batches)
                states.flush()
    return PrefixStates(path, lengths, hidden_size)


def _check_space(folder: Path, n_bytes: int, layer: int, n_examples: int) -> None:
    free = shutil.disk_usage(folder).free
    size, there = f"{n_bytes / 1e9:.2f} GB", f"{free / 1e9:.2f} GB"
    if n_bytes > free:
        raise UnreachableError(
            f"the output of layer {layer} for {n_examples} examples needs {size} in {folder}, which has {there} free; "
            "set cache_frozen=false or another cache_dir"
        )
    log.info(
        "storing the output of layer %d for %d examples, %s, in %s (%s free)", layer, n_examples, size, folder, there
    )


@torch.no_grad()
def _fill(
    states: PrefixStates,
    encoder: nn.Module,
    layer: int,
    lengths: Sequence[int] | np.ndarray,
    batches: Iterable[tuple[Sequence[int], Batch]],
) -> None:
    was_training, device = encoder.training, next(encoder.parameters()).device
    encoder.eval()
    try:
        for rows, inputs in batches:
            with blocks_up_to(encoder, layer):
                output = encoder(**{name: value.to(device) for name, value in inputs.items()})[0].float().cpu().numpy()
            for row, hidden_states in zip(rows, output, strict=True):
                states.put(row, hidden_states[: lengths[row]])
    finally:
        encoder.train(was_training)
