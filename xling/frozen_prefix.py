"""Training after the stored output of frozen layers: what ``cache_frozen=true`` does to the parts of a run."""

from pathlib import Path
from typing import Any

import torch

from xling.build import Parts
from xling.data.prefixed import PrefixedExamples
from xling.errors import XlingValueError
from xling.models.prefix import prefix_layer, store_prefix


def start_after_frozen_layers(config: dict[str, Any], parts: Parts, device: torch.device) -> None:
    """Have training start from the stored output of the frozen lowest layers (``cache_frozen=true``).

    Raises:
        XlingValueError: the lowest layers are not frozen, or draw dropout.
        UnreachableError: the disk has too little space.
    """
    layer = prefix_layer(parts.recorder.frozen_layers)
    if layer is None or config["freeze"].get("dropout") != "off":
        raise XlingValueError(
            "cache_frozen=true needs the embeddings and the blocks above them frozen, without dropout, e.g. "
            "freeze=bottom_k freeze.dropout=off; or set cache_frozen=false"
        )
    encoder, datamodule = parts.module.encoder.to(device), parts.datamodule
    examples = datamodule.train
    key = [parts.facts["model"]["content_hash"], examples.fingerprint]
    folder = Path(config["cache_dir"]) / "prefix"
    states = store_prefix(encoder, layer, examples.lengths, datamodule.encoder_inputs(examples), folder, key)
    datamodule.train, parts.module.prefix_layer = PrefixedExamples(examples, states), layer
