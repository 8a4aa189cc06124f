"""Measures how alike one validation loader's representations are to those of the others, example by example."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from xling.callbacks._batches import GroupChoice, in_known_groups, moment
from xling.callbacks._probe import ProbedBatch, RepresentationProbe
from xling.callbacks._records import KeepsRecords
from xling.errors import XlingValueError
from xling.probing.axes import FeatureAxis
from xling.probing.base_store import BaseStore
from xling.probing.collect import RowCollector
from xling.probing.compare import Comparison
from xling.probing.representations import Representations
from xling.probing.select import LayerChoice
from xling.similarity.registry import MEASURES, Measure, get_measure

log = logging.getLogger(__name__)

GROUPED = "cka_grouped"


class AlignmentMonitor(KeepsRecords, RepresentationProbe):
    """Measures how alike a reference loader and every other one are, per layer, at every validation.

    It answers whether training breaks the alignment of languages. The loaders must be parallel: the same example ids stand for
    the same content in several languages (or views). Where ids do not match, the records say so and hold NaN. Where the module or
    `groups` says which rows are not independent, ``cka_grouped`` is recorded before ``cka_debiased``; it is debiased over the
    groups of the reference. With a `base`, the alignment before training is recorded too, from the stored representations.

    Runs on ``on_fit_start`` and on the hooks of :class:`RepresentationProbe`. Logs ``alignment/<loader>/<layer>`` (the first
    measure). Writes nothing. Holds the reference loader's pooled rows; adds no forward pass.

    Args:
        reference: name of the loader compared with; it must come first in validation.
        layers: see :func:`xling.probing.select.select_layers`.
        pooling: ``mean``, ``cls`` or ``flatten``. Words cannot be pooled: word 3 of a sentence is not word 3 of its translation.
        similarity: names in :data:`xling.similarity.registry.MEASURES`.
        base: store of an :class:`~xling.callbacks.ImpactMonitor` with the same layers and pooling.
        groups: see :class:`RepresentationProbe`.
        feature_axis: see :class:`RepresentationProbe`.

    Attributes:
        records: one dict per validation, loader and layer: loader, reference, label, layer (index), epoch, step,
            n_examples, the measures by name, reason (why NaN, else empty).

    Raises:
        XlingValueError: an unknown measure, or a reference that is not the first loader.
    """

    def __init__(
        self,
        reference: str,
        layers: LayerChoice = None,
        pooling: str = "mean",
        similarity: Sequence[str] = ("cka_debiased",),
        base: BaseStore | None = None,
        groups: GroupChoice = None,
        feature_axis: FeatureAxis = None,
    ) -> None:
        super().__init__(layers, pooling, groups, feature_axis)
        self.reference, self.base = reference, base
        self.measures = {name: get_measure(name) for name in similarity}
        self.records: list[dict[str, Any]] = []
        self._collected: RowCollector | None = None
        self._rows: Representations | None = None
        self._comparison: Comparison | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the alignment before training, where the base is stored."""
        if self.empty_unless_resumed(trainer) and self.base is not None and self.base.has(self.reference):
            self._record_base(trainer, pl_module, self.base)

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Collect the reference, or begin to compare with it."""
        self._collected = self._comparison = None
        if trainer.sanity_checking:
            return
        if loader == self.reference:
            self._collected = RowCollector(self.labels)
        elif self._rows is None:
            raise XlingValueError(
                f"expected the reference loader {self.reference!r} first, found {loader!r}; reorder the loaders"
            )
        else:
            self._comparison = self._against(self._rows, self._measures(pl_module))

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Keep a batch of the reference, or compare a batch with it."""
        if self._collected is not None:
            self._collected.add(rows.example_ids, layers, rows.group_ids)
        elif self._comparison is not None and self._rows is not None:
            of_reference, is_known = self._rows.find(rows.example_ids.to(pl_module.device))
            self._comparison.n_unmatched += int((~is_known).sum())
            self._comparison.update(of_reference[is_known], [layer[is_known] for layer in layers])

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Keep the reference on the device, or record the comparison."""
        if self._collected is not None:
            self._rows = self._collected.result({}).to(pl_module.device)
        elif self._comparison is not None:
            when = moment(trainer)
            self._record(loader, when, self._comparison, self.labels)
            self._log(pl_module)
        self._collected = self._comparison = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the representations of the reference."""
        super().on_validation_end(trainer, pl_module)
        self._rows = None

    def _measures(self, pl_module: pl.LightningModule) -> dict[str, Measure]:
        """The measures asked for; where groups are known, `cka_grouped` is put before `cka_debiased`."""
        if not self.knows_groups(pl_module) or "cka_debiased" not in self.measures:
            return self.measures
        names = dict.fromkeys(
            n for name in self.measures for n in ((GROUPED, name) if name == "cka_debiased" else (name,))
        )
        return {name: get_measure(name) for name in names}

    @staticmethod
    def _against(reference: Representations, measures: dict[str, Measure], **settings: Any) -> Comparison:
        layers = list(reference.layers.values())
        return Comparison(layers, measures, groups=reference.group_ids, **settings)

    def _record_base(self, trainer: pl.Trainer, pl_module: pl.LightningModule, base: BaseStore) -> None:
        measures = self._measures(pl_module)
        reference = in_known_groups(base.load(self.reference, pl_module.device), trainer, self.reference)
        if GROUPED in measures and reference.group_ids is None:
            measures = {name: measure for name, measure in measures.items() if name != GROUPED}
            log.warning(
                "the stored base does not say its groups: alignment before training is not measured over groups"
            )
        for loader in base.fingerprints:
            if loader == self.reference or not base.has(loader):
                continue
            other = base.load(loader, pl_module.device)
            comparison = self._against(reference, measures, is_distributed=False)
            rows, is_known = reference.find(other.example_ids)
            comparison.n_unmatched = int((~is_known).sum())
            comparison.update(rows[is_known], [layer[is_known] for layer in other.layers.values()])
            self._record(loader, {"epoch": 0.0, "step": 0}, comparison, list(reference.layers))

    def _record(self, loader: str, when: dict[str, Any], comparison: Comparison, labels: list[str]) -> None:
        values = comparison.compute()
        if comparison.n_unmatched:
            reason = f"{comparison.n_unmatched} example ids are not among those of {self.reference}: the loaders are not parallel"
            named = [name for name in MEASURES if name in values[0]]
            values = [value | {"reason": reason} | dict.fromkeys(named, math.nan) for value in values]
        for index, (label, value) in enumerate(zip(labels, values, strict=True)):
            names = {"loader": loader, "reference": self.reference, "label": label, "layer": index}
            self.records.append(names | when | value)

    def _log(self, pl_module: pl.LightningModule) -> None:
        first = next(iter(self._measures(pl_module)))
        for record in self.records[-len(self.labels) :]:
            if not math.isnan(record[first]):
                key = f"alignment/{record['loader']}/{record['label']}"
                pl_module.log(key, record[first], add_dataloader_idx=False, rank_zero_only=True, batch_size=1)
