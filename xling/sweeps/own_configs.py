"""Checks a user's own configuration files: of two files with one name, Hydra would read the one shipped with xling."""

from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from xling.errors import MissingFileError, XlingValueError

_OPTIONS = ("--config-dir", "-cd")


def own_folders(arguments: Sequence[str]) -> Iterator[Path]:
    """Find the folders that a command line names by ``--config-dir`` or ``hydra.searchpath``."""
    for index, argument in enumerate(arguments):
        key, is_set, value = argument.partition("=")
        if key in _OPTIONS:
            if is_set or index + 1 < len(arguments):
                yield Path(value if is_set else arguments[index + 1]).expanduser()
        elif key.lstrip("+") == "hydra.searchpath":
            entries = (entry.strip(" '\"") for entry in value.strip("[]").split(","))
            yield from (Path(entry.removeprefix("file://")).expanduser() for entry in entries if "pkg://" not in entry)


def check_own_configs(folder: Path) -> None:
    """Refuse a folder with a file of a shipped file's name, which would never be read.

    Raises:
        MissingFileError: there is no such folder.
        XlingValueError: a file has the name of a shipped one.
    """
    if not folder.is_dir():
        raise MissingFileError(f"expected a folder with configuration files at {folder}, found none; see --config-dir")
    with as_file(files("xling.conf")) as shipped:
        known = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*.yaml")}
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        if name in known:
            raise XlingValueError(
                f"{path} has the name of a shipped file, {name}, which would be read in its place; rename it, e.g. to "
                f"{path.with_stem('my_' + path.stem).relative_to(folder)}, and choose it by that name"
            )
