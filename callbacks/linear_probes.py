"""Measures what a linear classifier can read from each layer before and after training: the task's labels, and the language."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from xling.callbacks._batches import GroupChoice, moment
from xling.callbacks._probe import ProbedBatch, RepresentationProbe
from xling.callbacks._records import KeepsRecords
from xling.errors import XlingValueError
from xling.models.pooling import first_piece
from xling.probing.axes import FeatureAxis
from xling.probing.base_store import BaseStore
from xling.probing.collect import RowCollector
from xling.probing.kept_readings import readings_before
from xling.probing.linear_probes import LabelledRows, Readable, majority, read_layers
from xling.probing.select import LayerChoice

LabelChoice = str | Callable[[Any], Tensor | None]
"""Where the labels are: a key of the batch, or a function of it; [batch], or [batch, sequence] where words are pooled."""

_NO_BASE = "the representations before training are not stored"


class LinearProbes(KeepsRecords, RepresentationProbe):
    """Measures the accuracy of linear classifiers on every layer, before and after training.

    It asks two questions: can the label be read from a layer within one loader's language, and can the language be read, over all
    loaders at once? The classifier is :func:`xling.probing.discriminant.held_out_predictions`, with five folds over groups of
    dependent rows, so that it is never scored on rows that depend on those it was fitted on. Rows with a label below 0 do not
    count. Labels of every loader are read. That makes it a diagnosis, and its results must not guide a zero-shot decision.

    In a ``Trainer.validate`` outside a fit, epoch and step are NaN.

    Runs on the hooks of :class:`RepresentationProbe`, ``on_fit_start`` and ``on_validation_end``. Keeps what is read from before
    training beside it in `base`, where that store's folder stands for the weights, as that of runs does. Adds no forward pass;
    holds `n_examples` pooled rows per loader and layer, twice, while a validation goes on.

    Args:
        layers: see :func:`xling.probing.select.select_layers`.
        pooling: see :class:`RepresentationProbe`.
        base: store of an :class:`~xling.callbacks.ImpactMonitor` with the same layers and pooling; None: the columns about before
            training are NaN.
        labels: where a batch has its labels; a batch without that key has none.
        n_examples: largest number of rows per loader, those with the lowest ids; at least 10.
        groups: see :class:`RepresentationProbe`.
        feature_axis: see :class:`RepresentationProbe`.

    Attributes:
        records: one dict per validation, loader and layer: loader, label (of the layer), layer (index), epoch, step, n_examples,
            n_groups, label_before, label_after, label_majority (share of the most frequent label), language_before,
            language_after (share of this loader's rows whose language is recognised), n_languages, reason (why NaN, else empty).

    Raises:
        XlingValueError: `n_examples` is less than 10.
    """

    def __init__(
        self,
        layers: LayerChoice = None,
        pooling: str = "mean",
        base: BaseStore | None = None,
        labels: LabelChoice = "labels",
        n_examples: int = 1000,
        groups: GroupChoice = None,
        feature_axis: FeatureAxis = None,
    ) -> None:
        super().__init__(layers, pooling, groups, feature_axis)
        if n_examples < 10:
            raise XlingValueError(f"expected at least 10 rows per loader for a classifier, got n_examples={n_examples}")
        self.base, self.label_choice, self.n_examples = base, labels, n_examples
        self.records: list[dict[str, Any]] = []
        self._collected: RowCollector | None = None
        self._collected_labels: RowCollector | None = None
        self._rows: dict[str, LabelledRows] = {}
        self._ids: dict[str, Tensor] = {}
        self._before: dict[str, list[Readable]] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with no record, unless the fit goes on."""
        self.empty_unless_resumed(trainer)
        self._before = {}

    def row_labels(self, batch: Any, words: Tensor | None) -> Tensor | None:
        """Labels of the examples, or of the words by their first piece.

        Raises:
            XlingValueError: the labels are not one integer per row.
        """
        choice = self.label_choice
        if callable(choice):
            labels = choice(batch)
        else:
            labels = batch.get(choice) if isinstance(batch, Mapping) else None
        if labels is None:
            return None
        expected = 1 if words is None else 2
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dim() != expected:
            shape = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise XlingValueError(
                f"LinearProbes expects labels as whole numbers {'[batch]' if words is None else '[batch, sequence]'}, got "
                f"{shape}; give labels=, a function of the batch, which may return None"
            )
        return labels if words is None else first_piece(labels[..., None], words)[:, 0]

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Begin to collect."""
        self._collected = self._collected_labels = None
        if not trainer.sanity_checking:
            self._collected, self._collected_labels = RowCollector(self.labels), RowCollector(["label"])

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Keep a batch."""
        if self._collected is None or self._collected_labels is None:
            return
        self._collected.add(rows.example_ids, layers, rows.group_ids)
        if rows.labels is not None:
            self._collected_labels.add(rows.example_ids, [rows.labels[:, None].float()])

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Put the loader's rows together."""
        if self._collected is None or self._collected_labels is None:
            return
        rows, labels = self._collected.result({}), self._collected_labels.result_or_none({})
        keep = slice(self.n_examples)
        ids = rows.example_ids[keep]
        self._ids[loader] = ids
        self._rows[loader] = LabelledRows(
            {label: layer[keep] for label, layer in rows.layers.items()},
            ids if rows.group_ids is None else rows.group_ids[keep],
            None if labels is None else labels.layers["label"][keep, 0].long(),
        )
        self._collected = self._collected_labels = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the classifiers, and forget the rows."""
        super().on_validation_end(trainer, pl_module)
        if self._rows and trainer.is_global_zero:
            self._record(moment(trainer), pl_module.device)
        self._rows, self._ids = {}, {}

    def _record(self, when: dict[str, float], device: torch.device) -> None:
        if not self._before and self.base is not None and all(self.base.has(loader) for loader in self._rows):
            read = partial(self._read_before, self.base, device)
            self._before = readings_before(self.base, self._rows, self._ids, read)
        after = read_layers(self._rows, device)
        for loader, rows in self._rows.items():
            counts = {
                "n_examples": len(rows.groups),
                "n_groups": len(rows.groups.unique()),
                "n_languages": len(self._rows),
                "label_majority": majority(rows.labels),
            }
            for layer, (name, now) in enumerate(zip(rows.layers, after[loader], strict=True)):
                before = self._before[loader][layer] if self._before else Readable(math.nan, math.nan, _NO_BASE)
                place = {"loader": loader, "label": name, "layer": layer}
                labels = {"label_before": before.label, "label_after": now.label}
                languages = {"language_before": before.language, "language_after": now.language}
                reason = "; ".join(dict.fromkeys(filter(None, [before.reason, now.reason])))
                self.records.append({**place, **when, **counts, **labels, **languages, "reason": reason})

    def _read_before(self, base: BaseStore, device: torch.device) -> dict[str, list[Readable]]:
        return read_layers({loader: self._rows_before(base, loader) for loader in sorted(self._rows)}, device)

    def _rows_before(self, base: BaseStore, loader: str) -> LabelledRows:
        """Read the stored representations of the same rows from before training."""
        stored = base.load(loader, torch.device("cpu"))
        places = stored.rows(self._ids[loader])
        return self._rows[loader].with_layers({label: layer[places] for label, layer in stored.layers.items()})
