"""Reads the notation for the layers that an intervention treats: ``1-4,5:0.5`` means layers 1 to 4 wholly and layer 5 by half."""

import re
from collections.abc import Iterable, Mapping

from xling.checks import check_layer
from xling.errors import XlingValueError

HEAD = "head"
"""Stands for all parameters that belong to no layer: the task's head."""

Shares = Mapping[int | str, float]
"""Layer (0 = embeddings), or ``head``, -> share, 0..1."""

_ENTRY = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?|head")


def parse_shares(text: str | int | Iterable[int]) -> dict[int | str, float]:
    """Read layers with their shares.

    Args:
        text: text such as ``1-4,5:0.5,head``, where a layer without a share has share 1; or one layer's index, or several.

    Returns:
        Layer (or ``head``) -> share, 0..1; layers ascending, the head last.

    Raises:
        XlingValueError: `text` cannot be read, names a layer twice, or has a share outside 0..1.

    >>> parse_shares("1-2,4:0.5,head")
    {1: 1.0, 2: 1.0, 4: 0.5, 'head': 1.0}
    """
    entries = text.split(",") if isinstance(text, str) else [text] if isinstance(text, int) else text
    pairs = [pair for entry in entries for pair in _read(str(entry).strip())]
    shares = dict(pairs)
    if not pairs or len(shares) < len(pairs):
        what = "a layer twice" if pairs else "none"
        raise XlingValueError(f"expected layers such as 1-4,5:0.5, each once, got {what} in {text!r}")
    return dict(sorted(shares.items(), key=lambda pair: (pair[0] == HEAD, pair[0])))


def _read(entry: str) -> list[tuple[int | str, float]]:
    part, _, share = entry.partition(":")
    found = _ENTRY.fullmatch(part)
    try:
        value = float(share) if share else 1.0
    except ValueError:
        found = None
    if found is None:
        raise XlingValueError(f"expected layers such as 1-4,5:0.5 or head, got {entry!r}")
    check_share(value)
    if part == HEAD:
        return [(HEAD, value)]
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if last < first:
        raise XlingValueError(f"expected layers in ascending order, got {part}; write {last}-{first}")
    return [(layer, value) for layer in range(first, last + 1)]


def check_share(share: float) -> None:
    """Refuse a share outside 0..1, NaN included.

    Raises:
        XlingValueError: `share` is less than 0, more than 1, or NaN.
    """
    if not 0 <= share <= 1:
        raise XlingValueError(f"expected a share between 0 and 1, got {share}")


def scaled(shares: Shares, weight: float) -> dict[int | str, float]:
    """Multiply every share by `weight`, 0..1.

    Raises:
        XlingValueError: `weight` is outside 0..1.
    """
    check_share(weight)
    return {part: share * weight for part, share in shares.items()}


def format_shares(shares: Shares) -> str:
    """Write shares in the notation of :func:`parse_shares`; consecutive layers of one share become a range.

    >>> format_shares({1: 1.0, 2: 1.0, 3: 1.0, 5: 0.5})
    '1-3,5:0.5'
    """
    runs: list[tuple[int | str, int | str, float]] = []
    for part, share in shares.items():
        first, last, shared = runs[-1] if runs else (HEAD, HEAD, share)
        if isinstance(part, int) and isinstance(last, int) and part == last + 1 and share == shared:
            runs[-1] = (first, part, share)
        else:
            runs.append((part, part, share))
    return ",".join(
        (f"{first}" if first == last else f"{first}-{last}") + ("" if share == 1 else f":{share:g}")
        for first, last, share in runs
    )


def name_shares(shares: Shares) -> str:
    """Write shares so that they can be part of a folder's name, which may hold neither commas nor colons.

    >>> name_shares({1: 1.0, 2: 1.0, 5: 0.5})
    '1-2_5x0.5'
    """
    return format_shares(shares).replace(",", "_").replace(":", "x")


def layers_in(shares: Shares, n_layers: int) -> tuple[int, ...]:
    """List the layers among the parts of `shares`, without the head and without layers whose share is 0.

    Raises:
        XlingValueError: an encoder of `n_layers` blocks has no such layer.
    """
    layers = {part: share for part, share in shares.items() if isinstance(part, int)}
    for layer in layers:
        check_layer(layer, n_layers)
    return tuple(layer for layer, share in layers.items() if share)
