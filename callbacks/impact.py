"""Measures how far training has moved each layer's representations of each validation loader."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from xling.callbacks._batches import GroupChoice, in_known_groups, is_fit, is_sanity_check_on_resume, moment
from xling.callbacks._probe import ProbedBatch, RepresentationProbe
from xling.errors import MissingFileError
from xling.models.encoders import content_hash
from xling.probing.axes import FeatureAxis
from xling.probing.base_store import BaseStore, own_store
from xling.probing.collect import RowCollector
from xling.probing.compare import Comparison
from xling.probing.representations import Representations
from xling.probing.select import LayerChoice, select_layers
from xling.probing.uncertainty import get_uncertainty
from xling.similarity.registry import get_measure
from xling.storage.hashing import content_key

log = logging.getLogger(__name__)

ALWAYS = ("cka_debiased", "cka_biased")
GROUPED = "cka_grouped"


class ImpactMonitor(RepresentationProbe):
    """Measures impact = 1 - CKA(base, now), per layer and validation loader, at every validation.

    CKA is debiased over groups of rows that are not independent (three hypotheses on one premise, the words of a sentence)
    where the module or `groups` says which rows these are. Otherwise it is debiased over single rows, which is right where the
    rows are independent.

    The base is what the layers gave before the first optimiser step. It is read from `base` where it is stored there, and
    otherwise captured before training in Lightning's sanity check, which this callback then extends to all batches. A resumed
    fit keeps the stored base. The file of a base names the weights it was made with (those of the watched layers), and the base
    of other weights is refused. In a ``Trainer.validate`` outside a fit nothing is captured, and epoch and step of what is
    measured are NaN.

    Batches are added to sums of products, so that no more rows than those of the base are held in memory.

    Runs on ``on_fit_start`` and on the hooks of :class:`RepresentationProbe`. Logs ``cka/<loader>/<layer>`` (1 - impact).
    Writes the base, one safetensors file per loader. Costs no forward pass; per batch one product of [b, hidden] with
    itself and one with the base per layer.

    Args:
        layers: see :func:`xling.probing.select.select_layers`.
        pooling: ``mean``, ``cls``, ``flatten``, ``word`` or ``word_mean``, see :class:`RepresentationProbe`.
        similarity: names in :data:`xling.similarity.MEASURES`; debiased and biased CKA are always computed.
        uncertainty: names in :data:`xling.probing.uncertainty.UNCERTAINTY`, e.g. ``jackknife``; holds one loader's rows.
        base: store of the base; None: one below the trainer's ``default_root_dir``, for this fit alone.
        groups: see :class:`RepresentationProbe`.
        chance: also record the level of chance: every measure of the same rows after the pairing of their groups is shuffled;
            holds one loader's rows.
        feature_axis: see :class:`RepresentationProbe`.

    Attributes:
        records: one dict per validation, loader and layer: loader, label, layer (index), epoch, step, n_examples,
            n_groups (n_examples where no groups are known), impact, estimator (the CKA behind impact: ``cka_grouped`` or
            ``cka_debiased``), impact_debiased (over single rows), impact_biased, further measures by name, chance_<measure>
            where asked for, reason (why a number is NaN, else empty).

    Raises:
        XlingValueError: a measure is unknown.
        MissingFileError: a resumed fit finds no base.
        CorruptArtefactError: the stored base belongs to other weights or another probe set, or it is damaged.
    """

    def __init__(
        self,
        layers: LayerChoice = None,
        pooling: str = "mean",
        similarity: Sequence[str] = ALWAYS,
        uncertainty: Sequence[str] = (),
        base: BaseStore | None = None,
        groups: GroupChoice = None,
        chance: bool = False,
        feature_axis: FeatureAxis = None,
    ) -> None:
        super().__init__(layers, pooling, groups, feature_axis)
        self.measures = {name: get_measure(name) for name in dict.fromkeys([*ALWAYS, *similarity])}
        for name in uncertainty:
            get_uncertainty(name)
        self.uncertainty = tuple(uncertainty)
        self.base, self.chance = base, chance
        self.records: list[dict[str, Any]] = []
        self._own_base_is_valid = self._is_resumed = self._captures_outside = False
        self._weights: str | None = None
        self._captured: RowCollector | None = None
        self._before: Representations | None = None
        self._comparison: Comparison | None = None

    @property
    def logged_as(self) -> str:
        """First part of the keys that are logged."""
        return "cka"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Empty the records of an earlier fit, and have the base captured before the first step unless it is stored."""
        is_fresh = trainer.global_step == 0 and not self._is_resumed
        self._is_resumed = False
        if is_fresh:
            self.records, self._own_base_is_valid = [], False
            self._weights = self._weights_before(trainer, pl_module)
            if self.base is None or not self.base.is_complete():
                trainer.num_sanity_val_steps = math.inf  # all batches; limited by limit_val_batches

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Load the loader's base, or begin to capture it."""
        store = self._store(trainer)
        self._captured, self._comparison, self._before = None, None, None
        if self._has_base(store, loader):
            self._before = in_known_groups(store.load(loader, pl_module.device, self._facts()), trainer, loader)
            measures, groups = self.measures, None
            if self.knows_groups(pl_module):
                measures, groups = {GROUPED: get_measure(GROUPED)} | measures, self._before.group_ids
            base = list(self._before.layers.values())
            self._comparison = Comparison(
                base, measures, uncertainty=self.uncertainty, groups=groups, chance=self.chance
            )
        elif not is_fit(trainer) and not self._captures_outside:
            rank_zero_warn(f"ImpactMonitor measures nothing of {loader!r}: no fit has captured its base")
        elif trainer.global_step == 0:
            self._captured = RowCollector(self.labels)
        else:
            raise MissingFileError(
                f"no base representations of {loader!r} at {store.path(loader)}, and training has begun, so they cannot be "
                "captured any more; start the run anew, or restore that file"
            )

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Add the batch to the base that is being captured, or compare it with the base."""
        if self._captured is not None:
            self._captured.add(rows.example_ids, layers, rows.group_ids)
        if self._comparison is not None and self._before is not None:
            of_base = self._before.rows(rows.example_ids.to(pl_module.device))
            self._comparison.update(of_base, layers, rows.group_ids)

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Store the base, or compute and record the measures."""
        if self._captured is not None:
            facts = {"loader": loader, **self._facts(), **self._store(trainer).expected(loader)}
            rows = self._captured.result(facts)
            if trainer.is_global_zero:
                self._store(trainer).save(loader, rows)
            trainer.strategy.barrier("base representations written")
        elif self._comparison is not None and not is_sanity_check_on_resume(trainer):
            self._record(trainer, pl_module, loader, self._comparison)
        self._captured, self._comparison, self._before = None, None, None

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Use from now on the base that this fit has captured in its sanity check."""
        self._own_base_is_valid = True

    def state_dict(self) -> dict[str, Any]:
        """Return the records, and the fingerprint of the weights that the base was captured from."""
        return {"records": self.records, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the records and the base of an interrupted fit."""
        self.records, self._weights = list(state_dict["records"]), state_dict.get("weights")
        self._own_base_is_valid = self._is_resumed = True

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Let a ``Trainer.validate`` within the block capture the base; the caller must make sure that nothing was trained yet."""
        self._captures_outside = True
        try:
            yield
        finally:
            self._captures_outside = False

    def noise_floor(self) -> float:
        """Find the largest ``|impact|`` measured before the first step, where the true value is 0.

        Where there were too few groups for an impact over groups, the one over single rows counts. NaN if nothing was measured.
        """
        before = [record for record in self.records if record["step"] == 0]
        values = [r["impact_debiased"] if math.isnan(r["impact"]) else r["impact"] for r in before]
        return max((abs(value) for value in values if not math.isnan(value)), default=math.nan)

    def _record(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, comparison: Comparison) -> None:
        when = moment(trainer)
        estimator = GROUPED if self.knows_groups(pl_module) else ALWAYS[0]
        for index, (label, row) in enumerate(zip(self.labels, comparison.compute(), strict=True)):
            self.records.append({"loader": loader, "label": label, "layer": index} | when | _impact(row, estimator))
            if not trainer.sanity_checking and not math.isnan(row[estimator]):
                pl_module.log(
                    f"{self.logged_as}/{loader}/{label}",
                    row[estimator],
                    add_dataloader_idx=False,
                    rank_zero_only=True,
                    batch_size=1,
                )

    def _store(self, trainer: pl.Trainer) -> BaseStore:
        return self.base or own_store(trainer)

    def _has_base(self, store: BaseStore, loader: str) -> bool:
        return store.has(loader) and (self.base is not None or self._own_base_is_valid)

    def _facts(self) -> dict[str, str]:
        """Facts that a base's file records: how the base is computed, and from which weights if that is known."""
        facts = {"pooling": self.pooling_name, "weights": self._weights, "feature_axis": self.feature_axis}
        return {name: str(value) for name, value in facts.items() if value is not None}

    def _weights_before(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str | None:
        """Fingerprint of the watched layers' weights, computed by process 0.

        None where the store's folder is named after the weights already, and in a resumed fit, whose checkpoint holds the
        fingerprint.
        """
        if trainer.ckpt_path is not None or self._store(trainer).is_keyed_by_weights:
            return None
        hashes = [[label, content_hash(part)] for label, part in select_layers(pl_module, self.layers).items()]
        return trainer.strategy.broadcast(content_key(*hashes))


def _impact(row: dict[str, Any], estimator: str) -> dict[str, Any]:
    """Turn similarities into the columns of a record, which state each CKA as an impact."""
    known = (estimator, *ALWAYS, "n_examples", "n_groups", "reason")
    return {
        "n_examples": row["n_examples"],
        "n_groups": row.get("n_groups", row["n_examples"]),
        "impact": 1.0 - row[estimator],
        "estimator": estimator,
        "impact_debiased": 1.0 - row["cka_debiased"],
        "impact_biased": 1.0 - row["cka_biased"],
        "reason": row["reason"],
        **{name: value for name, value in row.items() if name not in known},
    }
