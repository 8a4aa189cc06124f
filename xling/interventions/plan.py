"""Makes the plan of an intervention from plain settings; a run records its name as it does that of a freezing strategy.

Two kinds share one table: those that act in training have a callback (``conf/intervention``), and those that act on trained
weights have none (:mod:`xling.commands.restore`). A new one of this package is an entry here and a file in
``conf/intervention``; one of another package needs no change here, see :mod:`xling.registry`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xling.errors import XlingValueError
from xling.interventions import kinds
from xling.interventions.layer_shares import HEAD, layers_in, parse_shares
from xling.registry import Registry


@dataclass(frozen=True)
class Intervention:
    """One kind of intervention.

    Attributes:
        name: function that takes the intervention's settings, checks them and returns a name made of them, e.g.
            ``anchor_1-4_0.1``. Its parameters define which settings ``intervention.<setting>`` exist.
        callback: ``package.module:Name`` of the Lightning callback that acts in training; None: the intervention acts on trained
            weights. The callback takes the same settings (`batches` in place of `languages`), besides `names`, which says where
            the encoder's layers are, and `pooling` if its signature has it.
        dose: function of the same settings that returns how strong the intervention is; 0 = nothing is done. Doses can be
            compared within one kind only.
    """

    name: Callable[..., str]
    callback: str | None = None
    dose: Callable[..., float] = kinds.full_dose

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Add the default values of the settings that `options` does not name.

        Raises:
            TypeError: `options` has a setting that the intervention does not take, or lacks one that it needs.
        """
        bound = inspect.signature(self.name).bind(**options)
        bound.apply_defaults()
        return dict(bound.arguments)


INTERVENTIONS: Registry[Intervention] = Registry(
    "intervention",
    "xling.interventions",
    {
        "none": Intervention(kinds.none, dose=kinds.zero_dose),
        "anchor": Intervention(kinds.anchor, "xling.callbacks:Anchor", kinds.strength_of),
        "l2_sp": Intervention(kinds.l2_sp, "xling.callbacks:PullToBase", kinds.strength_of),
        "layerwise_lr": Intervention(kinds.layerwise_lr, "xling.callbacks:LayerwiseRates", kinds.slowing),
        "gradual": Intervention(kinds.gradual, "xling.callbacks:GradualUnfreezing", kinds.delay),
        "budget": Intervention(kinds.budget, "xling.callbacks:ImpactBudget", kinds.tightness),
        "revert": Intervention(kinds.revert, dose=kinds.mean_share),
        "swap": Intervention(kinds.swap, dose=kinds.mean_share),
        "average": Intervention(kinds.average),
    },
    lambda found: isinstance(found, Intervention),
    "a xling.interventions.Intervention",
)
"""By name; other packages add theirs as entry points of the group ``xling.interventions``."""


@dataclass(frozen=True)
class InterventionPlan:
    """An intervention with its settings; made by :func:`plan_intervention`.

    Attributes:
        name: name in run directories, e.g. ``revert_1-4``; empty: nothing is done.
        kind: a name in ``INTERVENTIONS``, or ``package.module:name``.
        options: settings that were given; the others have their default values.
    """

    name: str = ""
    kind: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether it acts in training, as every intervention of another package does; nothing is imported to say so."""
        own = INTERVENTIONS.own.get(self.kind)
        return own is None or own.callback is not None

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the intervention, default values included."""
        return INTERVENTIONS.find(self.kind).complete(self.options)

    def layers_of(self, n_layers: int) -> tuple[int, ...]:
        """The layers it treats: those of its setting `layers`, or all layers where it has no such setting.

        Raises:
            XlingValueError: an encoder of `n_layers` blocks has no such layer.
        """
        if not self.name:
            return ()
        layers = self.settings.get("layers")
        return tuple(range(n_layers + 1)) if layers is None else layers_in(parse_shares(layers), n_layers)

    def facts(self, n_layers: int) -> dict[str, Any]:
        """Give what a run's manifest records of the intervention: its kind, the treated layers (or ``head``) and its dose."""
        dose = INTERVENTIONS.find(self.kind).dose(**self.settings)
        head = [HEAD] if self._share_of_head() else []
        treated = [*self.layers_of(n_layers), *head]
        return {"intervention": self.kind, "treated_layers": treated, "dose": float(dose)}

    def _share_of_head(self) -> float:
        layers = self.settings.get("layers") if self.name else None
        return 0.0 if layers is None else parse_shares(layers).get(HEAD, 0.0)

    def strategy(self, freezing: str) -> str:
        """Join the names of freezing strategy and intervention to the name of the run's strategy.

        A freezing strategy that freezes nothing is left out of it.

        >>> plan_intervention("revert", layers="1-4").strategy("word_embeddings")
        'word_embeddings_revert_1-4'
        """
        return "_".join([*([freezing] if freezing != "none" or not self.name else []), *filter(None, [self.name])])


def plan_intervention(kind: str = "none", **options: Any) -> InterventionPlan:
    """Check the settings of ``conf/intervention`` and name them; needs no encoder.

    Args:
        kind: a name in ``INTERVENTIONS``, or ``package.module:name``.
        options: settings of the intervention.

    Raises:
        XlingValueError: there is no such intervention, it does not take one of the settings, or it lacks one.

    >>> plan_intervention("revert", layers="0-2").name
    'revert_0-2'
    """
    found = INTERVENTIONS.find(kind)
    try:
        complete = found.complete(options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(found.name).parameters) or "no settings"
        raise XlingValueError(f"intervention {kind} takes {takes}, got {', '.join(options) or 'none'}") from error
    return InterventionPlan(found.name(**complete), kind, options)
