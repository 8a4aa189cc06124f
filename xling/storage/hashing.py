"""Hashes contents: keys are short names that change with the content, checksums show whether a file is damaged."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import xxhash

_ROWS_AT_ONCE = 10_000
"""Rows joined to one text before they are hashed: few calls, and little memory."""


def sha256(*parts: bytes | str | memoryview) -> str:
    """Hash the parts one after another, texts as UTF-8: 64 hexadecimal digits.

    >>> sha256("a", b"b") == sha256("ab")
    True
    """
    return _hash(parts)


def _hash(parts: Iterable[bytes | str | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def stable_number(text: str) -> int:
    """Turn a text into a number of 0 .. 2**64 - 1, which is the same on every machine and in every process."""
    return int(sha256(text)[:16], 16)


def content_key(*parts: Any, length: int = 16) -> str:
    """Hash `parts`, values that JSON can write, into a name of `length` hexadecimal digits.

    >>> content_key("a", 1) == content_key("a", 1) != content_key("a", 2)
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text)[:length]


def rows_fingerprint(*columns: Iterable[Any]) -> str:
    """Hash equally long columns, row by row, in their order (sha256, 64 hexadecimal digits).

    >>> rows_fingerprint([1, 2], ["a", "b"]) == rows_fingerprint([2, 1], ["b", "a"])
    False
    """
    quoted = (map(encode_basestring, map(str, column)) for column in columns)
    rows = (f"[{', '.join(row)}]" for row in zip(*quoted, strict=True))  # a JSON list of texts each
    return _hash(iter(lambda: "".join(itertools.islice(rows, _ROWS_AT_ONCE)), ""))


def file_sha256(path: Path) -> str:
    """Hash a file's content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quick_checksum(content: memoryview) -> int:
    """Compute a checksum of bytes in memory, 64 bits (xxh3), which shows damage but not forgery."""
    return xxhash.xxh3_64_intdigest(content)


def quick_digest(parts: Iterable[bytes | memoryview]) -> str:
    """Hash the parts one after another, 32 hexadecimal digits (xxh3); this tells contents apart, but does not reveal forgery."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """Compute a checksum of a file that xling itself wrote, 32 hexadecimal digits (xxh3).

    It is ten times as fast as sha256, and shows damage but not forgery.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
