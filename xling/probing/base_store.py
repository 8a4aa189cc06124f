"""Keeps the representations from before the first optimiser step."""

from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch

from xling.probing.base_place import base_folder
from xling.probing.representations import Representations, load_representations, save_representations
from xling.settings import RunSettings


class BaseStore:
    """Keeps the base in one file per validation loader under a folder.

    Args:
        folder: folder of one model's base, read at some layers by one pooling.
        fingerprints: loader name -> fingerprint of its probe set.
        is_keyed_by_weights: whether the folder's name is derived from the weights, which then need not be compared.
    """

    def __init__(
        self, folder: Path | str, fingerprints: dict[str, str] | None = None, *, is_keyed_by_weights: bool = False
    ) -> None:
        self.folder, self.fingerprints = Path(folder), fingerprints or {}
        self.is_keyed_by_weights = is_keyed_by_weights

    def is_complete(self) -> bool:
        """Whether the base of every loader is stored; False if it is not known which loaders there are."""
        return bool(self.fingerprints) and all(self.has(loader) for loader in self.fingerprints)

    def path(self, loader: str) -> Path:
        """Give the file of one loader; its name changes with the probe set."""
        fingerprint = self.fingerprints.get(loader, "")
        return self.folder / f"{loader}{'-' if fingerprint else ''}{fingerprint[:16]}.safetensors"

    def has(self, loader: str) -> bool:
        """Whether the loader's base is stored."""
        return self.path(loader).is_file()

    def save(self, loader: str, representations: Representations) -> None:
        """Write a loader's base."""
        save_representations(representations, self.path(loader))

    def load(self, loader: str, device: torch.device, facts: Mapping[str, str] | None = None) -> Representations:
        """Read a loader's base; see :func:`xling.probing.representations.load_representations` for errors."""
        return load_representations(self.path(loader), self.expected(loader, facts), device)

    def expected(self, loader: str, facts: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the facts that a file of this loader must agree with.

        Args:
            loader: the loader's name.
            facts: what the base is made from and how, such as weights and pooling; they are not compared where the folder's
                name is derived from them.
        """
        of_probe = {"fingerprint": self.fingerprints[loader]} if loader in self.fingerprints else {}
        return of_probe if self.is_keyed_by_weights else of_probe | dict(facts or {})


def shared_store(settings: RunSettings, model_hash: str, fingerprints: Mapping[str, str] | None = None) -> BaseStore:
    """Open the store that runs share, see :func:`xling.probing.base_place.base_folder`.

    Args:
        settings: settings of a run, of which cache, layers, pooling and precision are read.
        model_hash: hash of the encoder's weights before training.
        fingerprints: target language -> fingerprint of its examples and their tokens.
    """
    return BaseStore(base_folder(settings, model_hash), dict(fingerprints or {}), is_keyed_by_weights=True)


def own_store(trainer: pl.Trainer) -> BaseStore:
    """Open a store that one fit alone uses, below the trainer's ``default_root_dir``; a resumed fit reads it again."""
    return BaseStore(Path(trainer.default_root_dir) / "base_representations")
