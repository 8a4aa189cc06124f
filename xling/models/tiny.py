"""Builds random encoders of a few thousand parameters, one per architecture, over bytes: for tests, offline."""

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerFast

from xling.errors import check_known

HIDDEN, N_LAYERS, N_HEADS, MAX_LENGTH = 32, 3, 4, 512
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = len(SPECIALS) + 256

_BERT = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "intermediate_size": 2 * HIDDEN,
    "max_position_embeddings": MAX_LENGTH + 2,  # RoBERTa's positions begin after the padding id
}
_T5 = {"d_model": HIDDEN, "d_kv": HIDDEN // N_HEADS, "d_ff": 2 * HIDDEN, "num_layers": N_LAYERS, "num_heads": N_HEADS}
_LLAMA = _BERT | {"num_key_value_heads": 2}
TINY: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": {"dim": HIDDEN, "hidden_dim": 2 * HIDDEN, "n_layers": N_LAYERS, "n_heads": N_HEADS},
    "deberta-v2": _BERT
    | {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "pos_att_type": ["p2c", "c2p"]}
    | {"share_att_key": True, "position_biased_input": False},
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "modernbert": _BERT | {"global_attn_every_n_layers": 2, "local_attention": 8},
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA | {"head_dim": HIDDEN // N_HEADS},
    "gpt2": {"n_embd": HIDDEN, "n_layer": N_LAYERS, "n_head": N_HEADS, "n_positions": MAX_LENGTH},
}
"""Architecture (transformers' model_type) -> the arguments that make its configuration small."""


def tiny_config(architecture: str = "bert") -> PretrainedConfig:
    """Make the configuration of a model of 3 blocks, 32 wide, over the vocabulary of bytes.

    Raises:
        XlingValueError: there is no such architecture.
    """
    check_known("architecture", architecture, TINY)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    return AutoConfig.for_model(architecture, vocab_size=VOCABULARY, **ids, **TINY[architecture])


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer with one token per UTF-8 byte, ``[CLS] A [SEP] B [SEP]``, to which no script is unknown.

    It gives no token_type_ids, since not all architectures take them.
    """
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, **dict(zip(names, SPECIALS, strict=True))
    )
