"""Checks names that become folders, since the name of a study or model must not lead out of the folder for its runs."""

import re
import unicodedata

from xling.errors import XlingValueError

_LONGEST = 200
"""Largest number of bytes; file systems take 255, and temporary names are a little longer than the final ones."""


def check_folder_name(name: str, setting: str, *, is_nested: bool = False) -> None:
    """Refuse a name that would be written elsewhere, or that no file system takes.

    Args:
        name: name that the user chose.
        setting: setting that has the name as its value, for the message.
        is_nested: whether ``/`` may separate the names of folders below each other.

    Raises:
        XlingValueError: the name is empty, ``.`` or ``..``, absolute or too long, or has a separator or a control character.
    """
    parts = name.split("/") if is_nested else [name]
    for part in parts:
        why = _why_not(part)
        if why:
            raise XlingValueError(
                f"expected {setting} to be a name that can be a folder, e.g. mine, got {name[:80]!r}, {why}; choose another one"
            )


def _why_not(part: str) -> str:
    if part in ("", ".", ".."):
        return "which leads elsewhere"
    if re.search(r"[/\\]", part) or part.startswith("~"):
        return "which has a separator or leads elsewhere"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in part):
        return "which has characters that cannot be seen"
    if len(part.encode()) > _LONGEST:
        return f"which is longer than {_LONGEST} bytes"
    return ""
