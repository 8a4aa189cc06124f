"""Registers distances by name, with what each is computed from: declared by the function, not guessed from its parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from xling.distances.controls import script_distances
from xling.distances.matrices import KINDS
from xling.distances.measured import representation_distances, vocabulary_overlap_distances
from xling.distances.result import Distances
from xling.distances.sources import SOURCES, compute_distances
from xling.errors import check_known
from xling.registry import Registry

Compute = TypeVar("Compute", bound=Callable[..., Distances])

LANGUAGES, TOKEN_COUNTS, REPRESENTATIONS = FEEDS = ("languages", "token_counts", "representations")
"""What a function of distances may be given: ``languages``, the codes; ``token_counts``, how often each word piece occurs in each
language's probe set; ``representations`` and ``ids``, what the base model made of the probe sets."""

_ATTRIBUTE = "computed_from"


def computed_from(feed: str) -> Callable[[Compute], Compute]:
    """Declare what a function of distances is given, one of :data:`FEEDS`; without it a function is given ``languages``.

    Raises:
        XlingValueError: `feed` is not one of :data:`FEEDS`.
    """
    check_known("input of a distance", feed, FEEDS)

    def declare(function: Compute) -> Compute:
        setattr(function, _ATTRIBUTE, feed)
        return function

    return declare


def feed_of(compute: Callable[..., Distances]) -> str:
    """Say what a function of distances, or a partial of one, is given."""
    while isinstance(compute, partial):
        compute = compute.func
    return getattr(compute, _ATTRIBUTE, LANGUAGES)


computed_from(TOKEN_COUNTS)(vocabulary_overlap_distances)
computed_from(REPRESENTATIONS)(representation_distances)

DISTANCES: Registry[Callable[..., Distances]] = Registry(
    "distance",
    "xling.distances",
    {source: partial(compute_distances, KINDS, source=source) for source in SOURCES}
    | {
        "script": script_distances,
        "vocabulary_overlap": vocabulary_overlap_distances,
        "representation": representation_distances,
    },
)
"""Functions of distances by name; other packages add theirs as entry points of the group ``xling.distances``."""


def find_distances(source: str, **options: Any) -> Callable[..., Distances]:
    """Find a function of distances by its name or by ``package.module:name``, and set options as its keyword arguments.

    Raises:
        XlingValueError: there is no function of that name.
    """
    return partial(DISTANCES.find(source), **options)
