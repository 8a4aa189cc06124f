"""Freezing strategies as data: from plain settings to a named list of layers, and the pure function that freezes them.

Layer 0 is the whole embedding module, layer i the i-th block (see :mod:`xling.models.layers`). Each strategy is a small
function in ``STRATEGIES``; a new one is a function there and a file in ``conf/freeze``.
"""

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from xling.errors import CorruptArtefactError, XlingValueError, close_matches
from xling.lora import add_adapters
from xling.models.layers import check_layer, find_layers
from xling.storage.atomic import read_json

DROPOUT = ("active", "off")


def no_layers(n_layers: int) -> list[int]:
    """Nothing."""
    return []


def embeddings_alone(n_layers: int) -> list[int]:
    """Layer 0."""
    return [0]


def bottom_k(n_layers: int, k: int, embeddings: bool = True) -> list[int]:
    """The lowest `k` blocks, and layer 0 unless `embeddings` is False.

    >>> bottom_k(12, 2), bottom_k(12, 2, embeddings=False)
    ([0, 1, 2], [1, 2])
    """
    _check_count(k, n_layers)
    return list(range(0 if embeddings else 1, k + 1))


def top_k(n_layers: int, k: int) -> list[int]:
    """The highest `k` blocks.

    >>> top_k(12, 2)
    [11, 12]
    """
    _check_count(k, n_layers)
    return list(range(n_layers - k + 1, n_layers + 1))


def named_layers(n_layers: int, layers: Sequence[int]) -> list[int]:
    """The layers given, each once, in ascending order."""
    for layer in layers:
        check_layer(layer, n_layers)
    return sorted(set(layers))


def random_k(n_layers: int, k: int, seed: int, embeddings: bool = False) -> list[int]:
    """`k` blocks drawn without replacement, and layer 0 if `embeddings`; the same `seed` gives the same set everywhere.

    >>> len(set(random_k(12, 3, seed=1))), random_k(12, 3, seed=1) == random_k(12, 3, seed=1)
    (3, True)
    """
    _check_count(k, n_layers)
    blocks = random.Random(seed).sample(range(1, n_layers + 1), k)
    return sorted([*([0] if embeddings else []), *blocks])


def guided(n_layers: int, suggestion: str, distance: str = "genetic") -> list[int]:
    """The layers that an analysis suggested for one distance.

    Args:
        n_layers: blocks of the encoder.
        suggestion: JSON file ``{"distances": {"genetic": {"layers": [1, 2], "reason": "..."}}}``, see
            :mod:`xling.analysis.suggestion`.
        distance: key in it.

    Raises:
        XlingValueError: the file has no such distance, suggests no layer for it, or a layer does not exist.
        MissingFileError: no such file.
        CorruptArtefactError: it has another layout.
    """
    if not suggestion:
        raise XlingValueError("expected freeze.suggestion to be the suggestion file of an analysis, got nothing")
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


def adapted_layers(n_layers: int, **options: Any) -> list[int]:
    """None: with adapters every layer's weights are frozen, and yet what it computes may change."""
    return []


@dataclass(frozen=True)
class Strategy:
    """Which layers a strategy takes, and how it is named with its settings."""

    layers: Callable[..., list[int]]
    name: Callable[..., str]
    word_embeddings: bool = False
    adapts: bool = False


def _marked(name: str, mark: str, is_marked: bool) -> str:
    return f"{name}_{mark}" if is_marked else name


def _name_lora(
    r: int = 8,
    alpha: float | None = None,
    target_modules: Sequence[str] | str | None = None,
    adapter_dropout: float = 0.0,
) -> str:
    """E.g. ``lora_r8``; what differs from the usual choice (alpha = 2 r, queries and values, no dropout) follows."""
    if isinstance(r, bool) or not isinstance(r, int) or r < 1:
        raise XlingValueError(f"expected freeze.r, the rank of the adapters, to be a whole number from 1, got {r!r}")
    targets = [target_modules] if isinstance(target_modules, str) else sorted(target_modules or [])
    parts = [f"lora_r{r}", *([] if alpha in (None, 2 * r) else [f"alpha{alpha:g}"]), *targets]
    return "_".join([*parts, *([f"dropout{adapter_dropout:g}"] if adapter_dropout else [])])


STRATEGIES = {
    "none": Strategy(no_layers, lambda: "none"),
    "embeddings": Strategy(embeddings_alone, lambda: "embeddings"),
    "word_embeddings": Strategy(no_layers, lambda: "word_embeddings", word_embeddings=True),
    "bottom_k": Strategy(bottom_k, lambda k, embeddings=True: _marked(f"bottom_{k}", "no_embeddings", not embeddings)),
    "top_k": Strategy(top_k, lambda k: f"top_{k}"),
    "layers": Strategy(named_layers, lambda layers: "_".join(map(str, ["layers", *sorted(set(layers))]))),
    "random_k": Strategy(
        random_k, lambda k, seed, embeddings=False: _marked(f"random_{k}_seed{seed}", "embeddings", embeddings)
    ),
    "guided": Strategy(guided, lambda suggestion, distance="genetic": f"guided_{distance}"),
    "lora": Strategy(adapted_layers, _name_lora, adapts=True),
}


@dataclass(frozen=True)
class FreezePlan:
    """A strategy with its settings; made by :func:`plan_freezing`. It becomes layers where an encoder's depth is known.

    Attributes:
        name: for run directories, e.g. ``bottom_3``.
        strategy: key of ``STRATEGIES``.
        dropout: ``active`` inside frozen layers, as in the paper, or ``off``.
        options: what the strategy takes.
    """

    name: str
    strategy: str
    dropout: str = "active"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word_embeddings(self) -> bool:
        """Whether the word-piece table is frozen alone; that is no layer."""
        return STRATEGIES[self.strategy].word_embeddings

    @property
    def adapts(self) -> bool:
        """Whether the encoder is frozen as a whole and low-rank adapters inside it train, see :mod:`xling.lora`."""
        return STRATEGIES[self.strategy].adapts

    def layers_of(self, n_layers: int) -> tuple[int, ...]:
        """Frozen layers of an encoder of `n_layers` blocks, ascending.

        Raises:
            XlingValueError: a layer or count that such an encoder does not have.
        """
        return tuple(STRATEGIES[self.strategy].layers(n_layers, **self.options))


def plan_freezing(strategy: str, dropout: str = "active", **options: Any) -> FreezePlan:
    """Check the settings of ``conf/freeze`` and name them; needs no encoder.

    Args:
        strategy: key of ``STRATEGIES``.
        dropout: ``active`` or ``off``, inside frozen layers.
        options: what the strategy takes.

    Raises:
        XlingValueError: no such strategy, or settings that it does not take or that are missing.

    >>> plan = plan_freezing("bottom_k", k=3, embeddings=False)
    >>> plan.name, plan.layers_of(12)
    ('bottom_3_no_embeddings', (1, 2, 3))
    """
    if strategy not in STRATEGIES:
        raise XlingValueError(
            f"unknown freezing strategy {strategy!r}; expected {', '.join(STRATEGIES)}"
            f"{close_matches(strategy, STRATEGIES)}"
        )
    if dropout not in DROPOUT:
        raise XlingValueError(f"expected freeze.dropout to be {' or '.join(DROPOUT)}, got {dropout!r}")
    name = STRATEGIES[strategy].name
    try:
        inspect.signature(name).bind(**options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(name).parameters) or "no settings"
        raise XlingValueError(f"freezing strategy {strategy} takes {takes}, got {', '.join(options)}") from error
    return FreezePlan(_marked(name(**options), "dropout_off", dropout == "off"), strategy, dropout, options)


def freeze_layers(module: nn.Module, plan: FreezePlan, override: Mapping[str, str | None] | None = None) -> list[str]:
    """Freeze in place: the parameters of `plan` get no gradient. Call it before the optimiser is built, in any loop.

    A parameter shared with a part that is not frozen (tied embeddings) is frozen there too, being the same tensor.

    Args:
        module: an encoder or anything around one.
        plan: what to freeze.
        override: module paths of an unknown architecture, see :func:`xling.models.layers.find_layers`.

    Returns:
        Full names of the frozen parameters, each once.
    """
    if plan.adapts:
        return add_adapters(module, **plan.options, override=override)
    layers = find_layers(module, override)
    owners = [owner for layer in plan.layers_of(layers.n_layers) for owner in layers.owners[layer]]
    if plan.dropout == "off":
        for owner in owners:
            switch_off_dropout(module.get_submodule(owner))
    frozen = {}
    for owner in [*owners, *([layers.word_embeddings] if plan.word_embeddings else [])]:
        for name, parameter in module.get_submodule(owner).named_parameters():
            parameter.requires_grad_(False)
            frozen.setdefault(parameter, f"{owner}.{name}")
    return list(frozen.values())


def switch_off_dropout(module: nn.Module) -> None:
    """Set every dropout probability inside `module` to 0, for good.

    Evaluation mode would not last, since ``train()`` on a parent ends it. Attention reads its probability from a
    dropout module (BERT) or from an attribute such as `attention_dropout` (Llama), so both are set.
    """
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def saves_no_backward(plan: FreezePlan, n_layers: int) -> bool:
    """Whether blocks are frozen above something that trains: autograd then still walks through every one of them.

    >>> saves_no_backward(plan_freezing("layers", layers=[1, 2]), 12)
    True
    >>> saves_no_backward(plan_freezing("bottom_k", k=2), 12)
    False
    """
    layers = plan.layers_of(n_layers)
    return any(layer > 0 for layer in layers) and not {0, 1} <= set(layers)


def describe_plan(plan: FreezePlan, n_layers: int) -> str:
    """One sentence for the log: what is frozen, and where that saves no computing.

    >>> describe_plan(plan_freezing("top_k", k=1), 12)
    'frozen: layers 12 of 0..12, dropout inside active; saves no backward pass, since layer 0 below trains'
    """
    layers = plan.layers_of(n_layers)
    if plan.adapts:
        return f"frozen: the encoder but for low-rank adapters ({plan.name}) in its layers 1..{n_layers}"
    if not layers:
        return "frozen: the word embeddings alone" if plan.word_embeddings else "frozen: nothing"
    text = f"frozen: layers {', '.join(map(str, layers))} of 0..{n_layers}, dropout inside {plan.dropout}"
    if saves_no_backward(plan, n_layers):
        text += f"; saves no backward pass, since layer {0 if 0 not in layers else 1} below trains"
    return text


def _check_count(k: int, n_layers: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n_layers:
        raise XlingValueError(
            f"expected freeze.k to be a whole number from 1 to {n_layers}, the number of blocks; got {k!r}"
        )
