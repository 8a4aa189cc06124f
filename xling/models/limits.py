"""Finds the limits of an encoder: how many positions it has, and for how many word pieces it has embeddings."""

from torch import nn

from xling.errors import XlingValueError

_POSITIONS = ("position_embeddings", "wpe", "embed_positions")


def max_tokens(encoder: nn.Module) -> int | None:
    """Count the tokens of the longest text that an encoder has learnt positions for; None where positions are relative.

    XLM-R and RoBERTa count positions from the one after their padding id, so that two of 514 positions are never used.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITIONS:
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return None


def check_max_length(encoder: nn.Module, max_length: int) -> None:
    """Refuse texts longer than an encoder's positions.

    Raises:
        XlingValueError: the encoder has fewer than `max_length` positions.
    """
    limit = max_tokens(encoder)
    if limit is not None and max_length > limit:
        raise XlingValueError(
            f"expected data.max_length to be at most {limit}, the positions this encoder has, got {max_length}; set "
            f"data.max_length={limit}, or choose another model"
        )


def check_pieces(n_embeddings: int, highest: int, where: str) -> None:
    """Refuse word pieces that an encoder has no embedding for.

    Args:
        n_embeddings: number of rows of the encoder's table.
        highest: largest id among the examples' word pieces.
        where: name of the examples, for the message.

    Raises:
        XlingValueError: tokenizer and encoder do not belong together.
    """
    if highest >= n_embeddings:
        raise XlingValueError(
            f"{where}: expected word pieces from 0 to {n_embeddings - 1}, the embeddings this encoder has, found {highest}; the "
            "tokenizer is of another model, or was extended after the encoder was saved: save both together"
        )
