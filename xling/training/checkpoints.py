"""Writes checkpoint files whole or not at all, verifies them before they are used, and loads them without executing code."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError
from xling.storage.atomic import atomic_path

_BROKEN = (RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError, zipfile.BadZipFile)


def save_checkpoint(checkpoint: dict[str, Any], path: Path | str) -> None:
    """Write a checkpoint under a temporary name beside `path`, flush it to the disk, and rename it.

    Lightning's own writing never flushes, and it goes through the system's temporary folder. Where that is another disk,
    renaming means copying, and a copy can be cut short.

    Raises:
        UnreachableError: no space is left, or the folder cannot be written.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # torch's writer, left half done, complains as well
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise UnreachableError(f"cannot write {path}: {error}; free some space or choose another folder") from error


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU after checking every byte of its content against the stored CRC-32.

    Torch itself checks none: a flipped bit would silently become another weight. Costs a second for 1 GB.

    Raises:
        MissingFileError: there is no file at `path`.
        CorruptArtefactError: the file is truncated or altered, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"expected a checkpoint at {path}, found none; run again with keep_checkpoint=true")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        return torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptArtefactError(
            f"{path} cannot be read as a checkpoint ({reason}); delete it and run again: the run then starts anew"
        ) from error


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin through which a trainer uses the two functions of this module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        """Write the checkpoint whole or not at all, by :func:`save_checkpoint`."""
        save_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: Path | str, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint by :func:`load_checkpoint`: always onto the CPU, always ``weights_only``."""
        return load_checkpoint(path)
