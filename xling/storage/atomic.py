"""Writes files and folders that appear whole or not at all: under a temporary name in the same folder, flushed, then renamed."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError

TEMPORARY_PREFIX = ".incomplete-"
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`, which is renamed to `path` when the block ends without an error.

    The block may create a file or a folder there. After an error it is removed, and `path` is as it was.

    Args:
        path: path of the finished file or folder; parent folders are made.

    Raises:
        UnreachableError: no space is left, or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        scratch.chmod(0o777 & ~_umask())  # mkdtemp is private; a shared cache follows the user's umask
        temporary = scratch / path.name
        yield temporary
        _follow_umask(temporary)
        _replace(temporary, path)
    except OSError as error:
        if isinstance(error, UnreachableError) or error.errno not in _UNWRITABLE:
            raise
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _follow_umask(path: Path) -> None:
    """Give files the permissions of the user's umask.

    Some writers (safetensors, datasets) make files that only their owner may read, and a cache may be shared.
    """
    mask = _umask()
    for entry in [path, *(path.rglob("*") if path.is_dir() else ())]:
        if not entry.is_symlink():
            entry.chmod((0o777 if entry.is_dir() else 0o666) & ~mask)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_dir():
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        if path.is_dir():
            shutil.rmtree(path)
    else:
        _flush(temporary)
    os.replace(temporary, path)
    flush_folder(path.parent)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk, since a power cut may undo a rename even if the file's content was flushed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):  # a file system without it
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> UnreachableError:
    """Make the error for a file or folder that cannot be written, in words for a user."""
    reason = "no space is left on its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
    return UnreachableError(f"cannot write {path}: {reason}; free some space or choose another folder")


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: the file is not JSON, e.g. because it was cut short.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"expected a JSON file at {path}, found none") from error
    except ValueError as error:
        raise CorruptArtefactError(f"{path} is not valid JSON ({error}); delete it and run again") from error
