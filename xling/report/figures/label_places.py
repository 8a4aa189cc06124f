"""Places labels so that they do not overlap."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

OFFSETS = ((4, 0), (-4, 0), (0, 5), (0, -5), (4, 4), (-4, 4), (4, -4), (-4, -4), (9, 0), (-9, 0), (0, 10), (0, -10))
"""Places for a label relative to its point, in typographic points, the best first."""


def spread(values: Sequence[float], gap: float) -> np.ndarray:
    """Move values apart until neighbours are at least `gap` from each other, keeping their order and overall centre.

    Args:
        values: positions, in any order.
        gap: smallest distance allowed, in the same unit.

    Returns:
        float64 array of new positions in the order of `values`.

    >>> spread([0.0, 0.1, 5.0], gap=1.0).tolist()
    [-0.45, 0.55, 5.0]
    """
    order = np.argsort(values, kind="stable")
    blocks: list[tuple[float, int]] = []  # (centre, members), bottom up
    for value in np.asarray(values, float)[order]:
        centre, members = value, 1
        while blocks and centre - blocks[-1][0] < gap * (members + blocks[-1][1]) / 2:
            below, below_members = blocks.pop()
            total = members + below_members
            centre, members = (centre * members + below * below_members) / total, total
        blocks.append((centre, members))
    placed = np.empty(len(order))
    placed[order] = [c + gap * (i - (m - 1) / 2) for c, m in blocks for i in range(m)]
    return placed


def place_labels(ax: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str], fontsize: float = 6) -> int:
    """Write a label beside each point where there is room, in the order given; leave the others out.

    Limits and data of `ax` must be final. Labels are placed one after another, each at the first of :data:`OFFSETS` where it
    touches no earlier label and no point.

    Args:
        ax: axes on which the points were drawn.
        x: horizontal positions of the points [n].
        y: vertical positions [n].
        texts: labels [n].
        fontsize: size of the letters, in points.

    Returns:
        Number of labels written.
    """
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y])) / scale  # in points of 1/72 inch
    frame = Bbox(ax.bbox.get_points() / scale)
    taken: list[Bbox] = [Bbox.from_bounds(px - 2.2, py - 2.2, 4.4, 4.4) for px, py in points]
    written = 0
    for i, text in enumerate(texts):
        spot = _free_spot(points[i], 0.66 * fontsize * len(text), fontsize, taken, i, frame)
        if spot is None:
            continue
        offset, box = spot
        taken.append(box)
        written += 1
        label = ax.annotate(
            text,
            (x[i], y[i]),
            offset,
            textcoords="offset points",
            fontsize=fontsize,
            ha={1: "left", 0: "center", -1: "right"}[int(np.sign(offset[0]))],
            va={1: "bottom", 0: "center", -1: "top"}[int(np.sign(offset[1]))],
            annotation_clip=False,
        )
        label.set_in_layout(False)
    return written


def _free_spot(
    point: np.ndarray, width: float, height: float, taken: list[Bbox], own: int, frame: Bbox
) -> tuple[tuple[int, int], Bbox] | None:
    """Find the first offset whose box lies inside `frame` and hits nothing of `taken` but the point's own marker."""
    others = taken[:own] + taken[own + 1 :]
    for dx, dy in OFFSETS:
        left = point[0] + dx - width * (1 - np.sign(dx)) / 2
        bottom = point[1] + dy - height * (1 - np.sign(dy)) / 2
        box = Bbox.from_bounds(left, bottom, width, height)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(_overlap(box, other) for other in others):
            return (dx, dy), box
    return None


def _overlap(a: Bbox, b: Bbox) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1
