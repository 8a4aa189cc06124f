"""Finds which positions of a layer's output count: the module says so, or else the batch's attention mask, which is checked."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from xling.errors import XlingValueError

_REMEDY = "give the module a padding_mask(batch, layer) method that returns [batch, sequence], 1 where a position counts, or None"


class Masks:
    """The padding masks of one batch, layer by layer, checked before they are used.

    A module with a method ``padding_mask(batch, layer)`` gives them itself. Otherwise the mask is the batch's ``attention_mask``
    or, for the decoder of an encoder-decoder, its ``decoder_attention_mask``. Without any mask all positions count.

    Args:
        pl_module: the module that is validated.
        batch: batch of the module's own kind.
        decoder: labels of the layers in the decoder of an encoder-decoder; empty for other models.
    """

    def __init__(self, pl_module: pl.LightningModule, batch: Any, decoder: frozenset[str] = frozenset()) -> None:
        self.pl_module, self.batch, self.decoder = pl_module, batch, decoder
        self._checked: dict[int, Tensor] = {}

    def __call__(self, layer: str) -> Tensor | None:
        """The mask [batch, sequence] of `layer`, or None where all positions count.

        Raises:
            XlingValueError: the mask has other values than 0 and 1, counts no position of a row, or is inverted; or the batch has
                a mask for the encoder and none for the decoder.
        """
        own = getattr(self.pl_module, "padding_mask", None)
        if callable(own):
            mask, origin = own(self.batch, layer), f"padding_mask(batch, {layer!r})"
        else:
            mask, origin = self._of_batch(layer)
        if mask is None:
            return None
        if id(mask) not in self._checked:  # one mask serves many layers
            check_mask(mask, origin)
            if not callable(own):
                _check_not_inverted(mask, entry(self.batch, origin.replace("attention_mask", "input_ids")), origin)
            self._checked[id(mask)] = mask
        return mask

    def _of_batch(self, layer: str) -> tuple[Tensor | None, str]:
        if layer not in self.decoder:
            return entry(self.batch, "attention_mask"), "attention_mask"
        mask = entry(self.batch, "decoder_attention_mask")
        if mask is None and entry(self.batch, "attention_mask") is not None:
            raise XlingValueError(
                f"layer {layer} is in the decoder, and the batch's attention_mask is the encoder's; {_REMEDY}"
            )
        return mask, "decoder_attention_mask"


def entry(batch: Any, name: str) -> Any:
    """Read an entry of a batch, by key or as an attribute; None where the batch has no such entry."""
    try:
        return batch[name]
    except (KeyError, TypeError, IndexError, ValueError):
        return None if isinstance(batch, Tensor) else getattr(batch, name, None)


def check_mask(mask: Any, origin: str) -> None:
    """Refuse a tensor that cannot be a padding mask.

    Args:
        mask: the supposed mask, [batch, sequence] of 0 and 1.
        origin: where it comes from, for the message.

    Raises:
        XlingValueError: it has another number of axes, other values than 0 and 1 (as an additive mask has), or a row without
            any 1.
    """
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        found = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise XlingValueError(f"expected {origin} to be a mask [batch, sequence], got {found}; {_REMEDY}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise XlingValueError(
            f"expected {origin} to hold 0 and 1 alone, got values from {mask.min().item():g} to {mask.max().item():g}; {_REMEDY}"
        )
    if not bool((mask == 1).any(dim=1).all()):
        row = int((mask == 1).any(dim=1).int().argmin())
        raise XlingValueError(
            f"{origin} counts no position of row {row}, as an inverted mask (1 = padding) does not; {_REMEDY}"
        )


def _check_not_inverted(mask: Tensor, tokens: Any, origin: str) -> None:
    """Refuse a mask that keeps the same token everywhere, the padding, and leaves out different ones."""
    if not isinstance(tokens, Tensor) or tokens.shape != mask.shape or bool(mask.all()):
        return
    kept, left_out = tokens[mask == 1], tokens[mask == 0]
    if bool((kept == kept[0]).all()) and bool((left_out != left_out[0]).any()):
        raise XlingValueError(
            f"{origin} looks inverted: it keeps token {kept[0].item()} alone and leaves out all others; {_REMEDY}"
        )


def decoder_layers(pl_module: nn.Module, layers: dict[str, nn.Module]) -> frozenset[str]:
    """Labels of the layers below a module called ``decoder`` that has a sibling ``encoder``."""
    paths = [path for path, _ in pl_module.named_modules()]
    within = {
        id(part)
        for path in paths
        if (path.split(".")[-1] == "decoder" and f"{path.removesuffix('decoder')}encoder" in set(paths))
        for part in pl_module.get_submodule(path).modules()
    }
    return frozenset(label for label, part in layers.items() if id(part) in within)
