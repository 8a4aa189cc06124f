"""Encoders and tokenizers: which one, where it comes from, how it is loaded and recorded."""

from xling.models.encoders import (
    content_hash,
    describe_encoder,
    load_encoder,
    load_tokenizer,
    resolve_weights,
    take_pooler,
)
from xling.models.spec import EncoderSpec

__all__ = [
    "EncoderSpec",
    "content_hash",
    "describe_encoder",
    "load_encoder",
    "load_tokenizer",
    "resolve_weights",
    "take_pooler",
]
