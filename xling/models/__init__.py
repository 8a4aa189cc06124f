"""Encoders and tokenizers: which one, where it comes from, how it is loaded and recorded."""

from typing import TYPE_CHECKING

from xling.lazy import lazy_names
from xling.models.spec import EncoderSpec

if TYPE_CHECKING:
    from xling.models.encoders import (
        content_hash,
        describe_encoder,
        load_encoder,
        load_tokenizer,
        resolve_weights,
        take_pooler,
    )

__all__ = [
    "EncoderSpec",
    "content_hash",
    "describe_encoder",
    "load_encoder",
    "load_tokenizer",
    "resolve_weights",
    "take_pooler",
]

# imported on first use: settings need only the specification, and the rest needs torch, which is slow to import
__getattr__ = lazy_names(__name__, {name: "xling.models.encoders" for name in __all__ if name != "EncoderSpec"})
