"""Replaces the files of a folder that belong together, such as a report with its tables and figures, by one process at a time.

The new files are written into a scratch folder and moved at the end. The old page is removed first and the new page is moved last,
so that a process that is killed in between leaves fewer files, but never files of two different reports.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xling.errors import UnreachableError
from xling.storage.atomic import TEMPORARY_PREFIX, flush_folder, unwritable
from xling.storage.hashing import content_key
from xling.storage.locks import hold_lock

LOCK_FILE = ".lock"


@contextmanager
def swapped_in(folder: Path | str, is_ours: Callable[[Path], bool], last: str) -> Iterator[Path]:
    """Give a scratch folder; when the block ends without an error, its files take the place of the older ones in `folder`.

    Args:
        folder: folder of the files, which is made where needed and locked until the block ends.
        is_ours: function of an older file's path, relative to `folder`, that says whether it was written by an earlier call and is
            to be removed.
        last: name of the file that leads to all others, which is removed first and moved last.

    Raises:
        UnreachableError: another process is writing the folder, or it cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(
            folder / LOCK_FILE,
            f"{folder} is being written by another process; wait for it, or choose another output_dir",
        ):
            for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
                # of a killed process, since only the holder of the lock writes here
                shutil.rmtree(leftover, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
            try:
                yield scratch
                _swap(scratch, folder, is_ours, last)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except UnreachableError:
        raise
    except OSError as error:
        raise unwritable(folder, error) from error


def _swap(scratch: Path, folder: Path, is_ours: Callable[[Path], bool], last: str) -> None:
    old = [path for path in _files(folder) if TEMPORARY_PREFIX not in str(path) and is_ours(path)]
    for path in sorted(old, key=lambda path: path.name != last):
        (folder / path).unlink()
    flush_folder(folder)
    for path in sorted(_files(scratch), key=lambda path: (path.name == last, path == Path(last))):
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        os.replace(scratch / path, folder / path)
    for parent in {path.parent for path in old}:
        with suppress(OSError):  # not empty
            (folder / parent).rmdir()
    flush_folder(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def unique_folders(names: list[str], reserved: tuple[str, ...] = ()) -> dict[str, str]:
    """Give every name a folder of its own, whatever characters it has and whatever case the disk tells apart.

    >>> unique_folders(["mine", "a b"])
    {'mine': 'mine', 'a b': 'a_b'}
    >>> len(set(unique_folders(["a b", "a_b", "A_b", "..", ".", "tables"], ("tables",)).values()))
    6
    """
    plain = {name: _plain(name) for name in names}
    taken = [folder.lower() for folder in (*plain.values(), *reserved)]
    return {
        name: folder
        if taken.count(folder.lower()) == 1 and folder.strip(".")
        else f"study_{content_key(name, length=12)}"
        for name, folder in plain.items()
    }


def _plain(name: str) -> str:
    kept = "".join(character if character.isalnum() or character in "._-" else "_" for character in name)
    return kept.strip("_")[:80]
