"""Defines the freezing strategies: each is a function that chooses layers by the encoder's depth, and a rule that names the choice.

A new strategy of this package is a function here, an entry of ``STRATEGIES`` and a file in ``conf/freeze``; one of another
package needs no change here, see :mod:`xling.registry`.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xling.checks import check_layer
from xling.errors import CorruptArtefactError, XlingValueError, close_matches
from xling.registry import Registry
from xling.storage.atomic import read_json


def no_layers(n_layers: int) -> list[int]:
    """Freeze no whole layer."""
    return []


def embeddings_alone(n_layers: int) -> list[int]:
    """Freeze layer 0, the whole embedding module."""
    return [0]


def bottom_k(n_layers: int, k: int, embeddings: bool = True) -> list[int]:
    """Freeze the lowest `k` blocks, and layer 0 unless `embeddings` is False.

    >>> bottom_k(12, 2), bottom_k(12, 2, embeddings=False)
    ([0, 1, 2], [1, 2])
    """
    _check_count(k, n_layers)
    return list(range(0 if embeddings else 1, k + 1))


def top_k(n_layers: int, k: int) -> list[int]:
    """Freeze the highest `k` blocks.

    >>> top_k(12, 2)
    [11, 12]
    """
    _check_count(k, n_layers)
    return list(range(n_layers - k + 1, n_layers + 1))


def named_layers(n_layers: int, layers: Sequence[int]) -> list[int]:
    """Freeze the given layers; they are returned in ascending order, each once."""
    for layer in layers:
        check_layer(layer, n_layers)
    return sorted(set(layers))


def random_k(n_layers: int, k: int, seed: int, embeddings: bool = False) -> list[int]:
    """Freeze `k` blocks drawn without replacement, and layer 0 if `embeddings`; one `seed` gives one set on every machine.

    >>> len(set(random_k(12, 3, seed=1))), random_k(12, 3, seed=1) == random_k(12, 3, seed=1)
    (3, True)
    """
    _check_count(k, n_layers)
    blocks = random.Random(seed).sample(range(1, n_layers + 1), k)
    return sorted([*([0] if embeddings else []), *blocks])


def guided(n_layers: int, suggestion: str, distance: str = "genetic") -> list[int]:
    """Freeze the layers that an analysis suggested for one distance.

    Args:
        n_layers: number of blocks of the encoder.
        suggestion: JSON file ``{"distances": {"genetic": {"layers": [1, 2], "reason": "..."}}}``, see
            :mod:`xling.analysis.questions.suggestion`.
        distance: name of the distance, a key in the file.

    Raises:
        XlingValueError: the file has no such distance, suggests no layer for it, or a layer does not exist.
        MissingFileError: there is no such file.
        CorruptArtefactError: the file has another layout.
    """
    if not suggestion:
        raise XlingValueError(
            "expected freeze.suggestion to be the suggestion file of an analysis, got nothing; set it"
        )
    try:
        entries = read_json(suggestion)["distances"]
        layers = {kind: list(entry["layers"]) for kind, entry in entries.items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise CorruptArtefactError(
            f'{suggestion} is no suggestion file: expected {{"distances": {{KIND: {{"layers": [...], "reason": ...}}}}}}'
        ) from error
    if distance not in layers:
        raise XlingValueError(
            f"{suggestion} suggests layers by {', '.join(layers) or 'no distance'}, not by {distance!r}"
            f"{close_matches(distance, layers)}; set freeze.distance to one of these"
        )
    if not layers[distance]:
        raise XlingValueError(
            f"{suggestion} suggests no layer by {distance} ({entries[distance].get('reason') or 'no reason given'}): that "
            "would train as freeze=none does; use that, or another freeze.distance"
        )
    return named_layers(n_layers, layers[distance])


def adapted_layers(
    n_layers: int,
    r: int = 8,
    alpha: float | None = None,
    target_modules: Sequence[str] | str | None = None,
    adapter_dropout: float = 0.0,
) -> list[int]:
    """None: with adapters every layer's weights are frozen, and yet what it computes may change."""
    return []


@dataclass(frozen=True)
class Strategy:
    """One strategy: which layers it freezes, and how it is named.

    Attributes:
        layers: function of the number of blocks and the strategy's settings that returns the frozen layers, ascending. Its
            parameters define which settings ``freeze.<setting>`` exist.
        name: function of the same settings (all are given) that returns a name for the run's folder, e.g. ``bottom_3``. Its
            signature may end in ``**_`` where not all settings belong in the name.
        word_embeddings: whether only the table of word pieces is frozen, which is no layer of its own.
        adapts: whether the encoder is frozen as a whole and low-rank adapters inside it train.

    Raises:
        XlingValueError: `name` takes other settings than `layers`.
    """

    layers: Callable[..., list[int]]
    name: Callable[..., str]
    word_embeddings: bool = False
    adapts: bool = False

    def __post_init__(self) -> None:
        try:
            inspect.signature(self.name).bind(**dict.fromkeys(self.settings))
        except TypeError as error:
            raise XlingValueError(
                f"expected the rule that names a strategy to take what its layers are chosen by, {', '.join(self.settings)}; "
                f"{error}"
            ) from error

    @property
    def settings(self) -> dict[str, inspect.Parameter]:
        """The settings that the strategy takes, besides the number of blocks."""
        return dict(list(inspect.signature(self.layers).parameters.items())[1:])

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Add the default values of the settings that `options` does not name.

        Raises:
            TypeError: `options` has a setting that the strategy does not take, or lacks one that it needs.
        """
        bound = inspect.signature(self.layers).bind(0, **options)
        bound.apply_defaults()
        return dict(list(bound.arguments.items())[1:])


def marked(name: str, mark: str, is_marked: bool) -> str:
    """Append `mark` to a strategy's name where a setting departs from its usual value."""
    return f"{name}_{mark}" if is_marked else name


def _name_lora(r: int, alpha: float | None, target_modules: Sequence[str] | str | None, adapter_dropout: float) -> str:
    """E.g. ``lora_r8``; what differs from the usual choice (alpha = 2 r, queries and values, no dropout) follows."""
    if isinstance(r, bool) or not isinstance(r, int) or r < 1:
        raise XlingValueError(f"expected freeze.r, the rank of the adapters, to be a whole number from 1, got {r!r}")
    targets = [target_modules] if isinstance(target_modules, str) else sorted(target_modules or [])
    parts = [f"lora_r{r}", *([] if alpha in (None, 2 * r) else [f"alpha{alpha:g}"]), *targets]
    return "_".join([*parts, *([f"dropout{adapter_dropout:g}"] if adapter_dropout else [])])


STRATEGIES: Registry[Strategy] = Registry(
    "freezing strategy",
    "xling.strategies",
    {
        "none": Strategy(no_layers, lambda: "none"),
        "embeddings": Strategy(embeddings_alone, lambda: "embeddings"),
        "word_embeddings": Strategy(no_layers, lambda: "word_embeddings", word_embeddings=True),
        "bottom_k": Strategy(bottom_k, lambda k, embeddings: marked(f"bottom_{k}", "no_embeddings", not embeddings)),
        "top_k": Strategy(top_k, lambda k: f"top_{k}"),
        "layers": Strategy(named_layers, lambda layers: "_".join(map(str, ["layers", *sorted(set(layers))]))),
        "random_k": Strategy(
            random_k, lambda k, seed, embeddings: marked(f"random_{k}_seed{seed}", "embeddings", embeddings)
        ),
        "guided": Strategy(guided, lambda distance, **_: f"guided_{distance}"),
        "lora": Strategy(adapted_layers, _name_lora, adapts=True),
    },
    lambda found: isinstance(found, Strategy),
    "a xling.freezing.Strategy",
)
"""By name; other packages add theirs as entry points of the group ``xling.strategies``."""


def _check_count(k: int, n_layers: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n_layers:
        raise XlingValueError(
            f"expected freeze.k to be a whole number from 1 to {n_layers}, the number of blocks; got {k!r}"
        )
