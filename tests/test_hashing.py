"""One way of hashing: what names and ids are made of must never change, or caches and studies of earlier versions are lost."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import nn

from xling.data.examples import stable_id
from xling.data.mini_nli.grammar import SPLITS, split_of
from xling.models.encoders import content_hash
from xling.storage.hashing import content_key, file_sha256, rows_fingerprint, sha256, stable_number

ROOT = Path(__file__).parents[1]


def test_no_other_module_chooses_a_hash_function():
    for folder in ("xling", "callbacks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            is_free = "import hashlib" not in text and "import xxhash" not in text
            assert is_free or path.name == "hashing.py", f"{path} hashes by itself; use xling.storage.hashing"


def test_parts_are_hashed_as_if_they_were_one(tmp_path):
    whole = hashlib.sha256("süß".encode() + b"\x00\x01").hexdigest()
    assert sha256("süß", b"\x00", memoryview(np.array([1], dtype=np.uint8))) == whole
    (tmp_path / "file").write_bytes("süß".encode() + b"\x00\x01")
    assert file_sha256(tmp_path / "file") == whole


def test_keys_and_fingerprints_are_sha256_of_json():
    assert content_key("ä", 1) == hashlib.sha256('["ä",1]'.encode()).hexdigest()[:16]
    assert rows_fingerprint([1, 2], "ab") == hashlib.sha256(b'["1", "a"]["2", "b"]').hexdigest()


def test_numbers_of_examples_and_parts_are_the_first_eight_bytes():
    number = int.from_bytes(hashlib.sha256(b"n01001011").digest()[:8])
    assert stable_number("n01001011") == number
    assert stable_id("n01001011") == number % 2**46 + 2**46
    first = hashlib.sha256(b"nurse/read_novel/train").digest()[0]
    assert split_of("nurse", (("activity", "read_novel"), ("place", "train"))) == SPLITS[first % 4 == 0]


def test_weights_are_hashed_by_name_type_shape_and_bytes():
    module = nn.Linear(2, 3)
    digest = xxhash.xxh3_128()
    for name in ("bias", "weight"):
        tensor = getattr(module, name).detach()
        digest.update(json.dumps([name, "torch.float32", list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    assert content_hash(module) == digest.hexdigest()
