"""Where the representations from before the first optimiser step are kept."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from xling.callbacks.batches import loader_names, probe_fingerprints
from xling.callbacks.select import find_encoder
from xling.errors import XlingValueError
from xling.hashing import content_key
from xling.models.encoders import content_hash
from xling.representations import Representations, load_representations, save_representations


class BaseStore:
    """One file per validation loader under a folder.

    Args:
        folder: of this model, these layers and this pooling.
        fingerprints: loader name -> fingerprint of its probe set; loaders without one are not shared between fits.
    """

    def __init__(self, folder: Path, fingerprints: dict[str, str] | None = None) -> None:
        self.folder, self.fingerprints = folder, fingerprints or {}

    def path(self, loader: str) -> Path:
        """File of one loader; another probe set, another file."""
        fingerprint = self.fingerprints.get(loader, "")
        return self.folder / f"{loader}{'-' if fingerprint else ''}{fingerprint[:16]}.safetensors"

    def has(self, loader: str) -> bool:
        """Whether the loader's base is there."""
        return self.path(loader).is_file()

    def save(self, loader: str, representations: Representations) -> None:
        """Keep a loader's base."""
        save_representations(representations, self.path(loader))

    def load(self, loader: str, device: torch.device) -> Representations:
        """Read a loader's base; see :func:`xling.representations.load_representations` for errors."""
        return load_representations(self.path(loader), self.expected(loader), device)

    def expected(self, loader: str) -> dict[str, str]:
        """Facts that a file of this loader must agree with."""
        return {"fingerprint": self.fingerprints[loader]} if loader in self.fingerprints else {}


def shared_store(root: Path, trainer: pl.Trainer, pl_module: nn.Module, labels: list[str], pooling: str, key: str) -> BaseStore:
    """A store that runs share: keyed by the content of model and probe, not by names or times.

    Args:
        root: folder of all shared bases.
        trainer: its data module must have ``probe_fingerprints``.
        pl_module: holds the encoder with its weights from before training.
        labels: labels of the layers.
        pooling: name of the pooling.
        key: what else the numbers depend on, e.g. the evaluation precision.

    Raises:
        XlingValueError: the data module does not say which examples its loaders hold.
    """
    fingerprints = probe_fingerprints(trainer)
    if not fingerprints:
        raise XlingValueError(
            "sharing base representations between runs needs a data module with probe_fingerprints "
            "(loader name -> text that changes with the examples); add it, or leave shared=False"
        )
    model = content_hash(find_encoder(pl_module) or pl_module)
    return BaseStore(Path(root) / content_key(model, labels, pooling, "float32", key), fingerprints)


def own_store(trainer: pl.Trainer) -> BaseStore:
    """A store of one fit alone, below the trainer's ``default_root_dir``, kept for resuming."""
    return BaseStore(Path(trainer.default_root_dir) / "base_representations")


def missing_loaders(store: BaseStore, trainer: pl.Trainer) -> list[str]:
    """Loaders whose base is not stored; call it once loaders are known, or with the fingerprints' names before."""
    names = list(store.fingerprints) or loader_names(trainer)
    return [name for name in names if not store.has(name)]
