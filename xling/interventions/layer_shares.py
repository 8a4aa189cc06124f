"""Which layers an intervention treats, each by what share: ``1-4,5:0.5`` is layers 1 to 4 whole and layer 5 by half."""

import re
from collections.abc import Iterable, Mapping

from xling.checks import check_layer
from xling.errors import XlingValueError

HEAD = "head"
"""What belongs to no layer: the task's head."""

Shares = Mapping[int | str, float]
"""Layer (0 = embeddings), or ``head``, -> share, 0..1."""

_ENTRY = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?|head")


def parse_shares(text: str | int | Iterable[int]) -> dict[int | str, float]:
    """Read layers with their shares.

    Args:
        text: ``1-4,5:0.5,head``; or one layer, or layers, each whole.

    Returns:
        Part -> share, layers ascending, the head last.

    Raises:
        XlingValueError: it cannot be read, a layer stands there twice, or a share is outside 0..1.

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
        XlingValueError: it is.
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
    """Write shares as :func:`parse_shares` reads them, runs of layers together.

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
    """The same for the name of a folder.

    >>> name_shares({1: 1.0, 2: 1.0, 5: 0.5})
    '1-2_5x0.5'
    """
    return format_shares(shares).replace(",", "_").replace(":", "x")


def layers_in(shares: Shares, n_layers: int) -> tuple[int, ...]:
    """The layers among the parts, those with a share of 0 left out.

    Raises:
        XlingValueError: an encoder of `n_layers` blocks has no such layer.
    """
    layers = {part: share for part, share in shares.items() if isinstance(part, int)}
    for layer in layers:
        check_layer(layer, n_layers)
    return tuple(layer for layer, share in layers.items() if share)
