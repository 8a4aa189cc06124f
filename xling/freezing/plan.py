"""Makes a freezing strategy, a named list of layers, from plain settings.

Layer 0 is the whole embedding module, layer i the i-th block (see :mod:`xling.models.layers`). Each strategy is a small
function in :mod:`xling.freezing.strategies`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xling.errors import XlingValueError, check_known
from xling.freezing.strategies import STRATEGIES, Strategy, marked
from xling.models.spec import DROPOUT


@dataclass(frozen=True)
class FreezePlan:
    """A strategy with its settings; made by :func:`plan_freezing`. It becomes layers where an encoder's depth is known.

    Attributes:
        name: name in run directories, e.g. ``bottom_3``.
        strategy: a name in ``STRATEGIES``, ``package.module:name``, or a :class:`Strategy`.
        dropout: ``active`` inside frozen layers, as in the paper, or ``off``.
        options: settings of the strategy that were given; the others have their default values.
        with_word_embeddings: whether the word-piece table is frozen besides the strategy's layers.
    """

    name: str
    strategy: str | Strategy
    dropout: str = "active"
    options: Mapping[str, Any] = field(default_factory=dict)
    with_word_embeddings: bool = False

    @property
    def word_embeddings(self) -> bool:
        """Whether the word-piece table is frozen by itself; it is a part of layer 0 and no layer of its own."""
        return self.with_word_embeddings or STRATEGIES.find(self.strategy).word_embeddings

    @property
    def adapts(self) -> bool:
        """Whether the encoder is frozen as a whole and low-rank adapters inside it train, see :mod:`xling.freezing.lora`."""
        return STRATEGIES.find(self.strategy).adapts

    def layers_of(self, n_layers: int) -> tuple[int, ...]:
        """Frozen layers of an encoder of `n_layers` blocks, ascending.

        Raises:
            XlingValueError: the plan names a layer, or more layers, than such an encoder has.
        """
        return tuple(STRATEGIES.find(self.strategy).layers(n_layers, **self.options))


def plan_freezing(
    strategy: str | Strategy, dropout: str = "active", word_embeddings: bool = False, **options: Any
) -> FreezePlan:
    """Check the settings of ``conf/freeze`` and name them; needs no encoder.

    Args:
        strategy: a name in ``STRATEGIES``, ``package.module:name``, or a :class:`Strategy`.
        dropout: ``active`` or ``off``, inside frozen layers.
        word_embeddings: freeze the word-piece table besides, as the strategy ``word_embeddings`` does alone: sets of layers
            can then be compared with that strategy at the same cost.
        options: settings of the strategy.

    Raises:
        XlingValueError: there is no such strategy, it does not take one of the settings, or it lacks one.

    >>> plan = plan_freezing("bottom_k", k=3, embeddings=False)
    >>> plan.name, plan.layers_of(12)
    ('bottom_3_no_embeddings', (1, 2, 3))
    >>> plan_freezing("top_k", k=2, word_embeddings=True).name
    'top_2_word_embeddings'
    """
    found = STRATEGIES.find(strategy)
    check_known("freeze.dropout", dropout, DROPOUT)
    try:
        complete = found.complete(options)
    except TypeError as error:
        takes = ", ".join(found.settings) or "no settings"
        raise XlingValueError(f"freezing strategy {strategy} takes {takes}, got {', '.join(options)}") from error
    if not isinstance(word_embeddings, bool):
        raise XlingValueError(f"expected freeze.word_embeddings to be true or false, got {word_embeddings!r}")
    if word_embeddings and (found.adapts or found.word_embeddings):
        raise XlingValueError(
            f"freezing strategy {strategy} freezes the word-piece table already; leave freeze.word_embeddings at false"
        )
    name = marked(found.name(**complete), "word_embeddings", word_embeddings)
    return FreezePlan(marked(name, "dropout_off", dropout == "off"), strategy, dropout, options, word_embeddings)


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
    """Write one sentence for the log: what is frozen, and whether that saves no computing.

    >>> describe_plan(plan_freezing("top_k", k=1), 12)
    'frozen: layers 12 of 0..12, dropout inside active; saves no backward pass, since layer 0 below trains'
    """
    layers = plan.layers_of(n_layers)
    if plan.adapts:
        return f"frozen: the encoder but for low-rank adapters ({plan.name}) in its layers 1..{n_layers}"
    if not layers:
        return "frozen: the word embeddings alone" if plan.word_embeddings else "frozen: nothing"
    table = " and the word embeddings" if plan.word_embeddings else ""
    text = f"frozen: layers {', '.join(map(str, layers))} of 0..{n_layers}{table}, dropout inside {plan.dropout}"
    if saves_no_backward(plan, n_layers):
        text += f"; saves no backward pass, since layer {0 if 0 not in layers else 1} below trains"
    return text
