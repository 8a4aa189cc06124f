"""Opens a study, which is a folder or a pack; a pack is unpacked until this process ends."""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from xling.runs.packs import is_pack, read_pack, unpack


def open_study(path: Path | str) -> Path:
    """Give the folder of a study.

    Args:
        path: a folder, which is given back as it is; or a pack, which is unpacked into a temporary folder that is deleted when
            the process ends.

    Raises:
        CorruptArtefactError: the pack is damaged.
    """
    path = Path(path)
    if not is_pack(path):
        return path
    stat = path.stat()
    return _unpacked(path.resolve(), stat.st_mtime_ns, stat.st_size)


@lru_cache
def _unpacked(file: Path, modified: int, size: int) -> Path:  # a file that has changed is unpacked anew
    scratch = tempfile.mkdtemp(prefix="xling-pack-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return unpack(read_pack(file), scratch)
