"""Writes the pooled representations of every layer to files."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from xling.callbacks._batches import is_fit, probe_fingerprints
from xling.callbacks._probe import ProbedBatch, RepresentationProbe
from xling.probing.axes import FeatureAxis
from xling.probing.collect import RowCollector
from xling.probing.representations import save_representations
from xling.probing.select import LayerChoice


class RepresentationWriter(RepresentationProbe):
    """Writes every layer's pooled representations of every validation loader, at each validation.

    Files: ``<dirpath>/step_<global step, six digits>/<loader>.safetensors``, see :mod:`xling.probing.representations`; outside a
    fit, where the weights' step is not known, ``<dirpath>/validate/<loader>.safetensors``. Costs host
    memory for one loader's rows (n x layers x hidden x 2 bytes in float16) and that much disk per loader and
    validation. Logs nothing.

    Args:
        dirpath: folder of the files; None: ``representations`` in the trainer's ``default_root_dir``.
        layers: see :class:`RepresentationProbe`.
        pooling: see :class:`RepresentationProbe`.
        dtype: type of the stored numbers, ``float16`` or ``float32``. A layer that float16 cannot hold (a number above 65,504, or
            none above 6e-5) is stored in float32, and the log says so.
        feature_axis: see :class:`RepresentationProbe`.
    """

    def __init__(
        self,
        dirpath: Path | str | None = None,
        layers: LayerChoice = None,
        pooling: str = "mean",
        dtype: str = "float16",
        feature_axis: FeatureAxis = None,
    ) -> None:
        super().__init__(layers, pooling, feature_axis=feature_axis)
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.dtype: torch.dtype = {"float16": torch.float16, "float32": torch.float32}[dtype]
        self._rows: RowCollector | None = None

    def loader_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Start to collect the loader's representations."""
        self._rows = None if trainer.sanity_checking else RowCollector(self.labels, self.dtype)

    def observe(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str, rows: ProbedBatch, layers: list[Tensor]
    ) -> None:
        """Collect the representations of a batch."""
        if self._rows is not None:
            self._rows.add(rows.example_ids, layers, rows.group_ids)

    def loader_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: str) -> None:
        """Write the loader's file; process 0 alone writes."""
        if self._rows is None:
            return
        facts = {"loader": loader, "pooling": self.pooling_name}
        if is_fit(trainer):
            facts |= {"step": str(trainer.global_step), "epoch": str(trainer.current_epoch)}
        facts |= (
            {"fingerprint": fingerprints[loader]} if loader in (fingerprints := probe_fingerprints(trainer)) else {}
        )
        rows = self._rows.result(facts)
        self._rows = None
        if trainer.is_global_zero:
            folder = self.dirpath or Path(trainer.default_root_dir) / "representations"
            when = f"step_{trainer.global_step:06d}" if is_fit(trainer) else "validate"
            save_representations(rows, folder / when / f"{loader}.safetensors")
