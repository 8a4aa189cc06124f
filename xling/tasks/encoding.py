"""Texts as token ids: what a tokenizer gives for them, without the parts that nobody asked for."""

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xling.data.lazy_tokenizer import LazyTokenizer

_CALLED = ("__call__", "_encode_plus", "_convert_encoding", "set_truncation_and_padding")
"""Methods through which a fast tokenizer encodes; one that has its own is called as it is."""

Columns = dict[str, list[list[int]]]


def encode_texts(tokenizer: PreTrainedTokenizerBase | LazyTokenizer, texts: list[tuple[str, ...]]) -> Columns:
    """Encode each text (pair) as one sequence, uncut and without padding.

    The library that fast tokenizers are made with encodes a whole batch without the offsets into the text, in two thirds of the
    time of a call of the tokenizer, which has them made and drops them.

    Args:
        tokenizer: a fast tokenizer.
        texts: text or text pair of each example.

    Returns:
        input_ids, and token_type_ids where the model has them, of each example, as calling the tokenizer gives them.
    """
    whole = tokenizer.loaded if isinstance(tokenizer, LazyTokenizer) else tokenizer
    if not texts or not _is_plain(whole):
        return _called(whole, texts)
    first = _called(whole, texts[:1])  # leaves the library with the settings of this tokenizer, and names the columns
    encoded = whole.backend_tokenizer.encode_batch_fast([each if len(each) > 1 else each[0] for each in texts])
    columns = {"input_ids": [each.ids for each in encoded]}
    if "token_type_ids" in first:
        columns["token_type_ids"] = [each.type_ids for each in encoded]
    return columns


def _called(tokenizer: PreTrainedTokenizerBase, texts: list[tuple[str, ...]]) -> Columns:
    sides = map(list, zip(*texts, strict=True))
    encoded = tokenizer(*sides, truncation=False, return_attention_mask=False, verbose=False)
    return {name: list(encoded[name]) for name in ("input_ids", "token_type_ids") if name in encoded}


def _is_plain(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer is a fast one that encodes as all of them do."""
    kind = type(tokenizer)
    return isinstance(tokenizer, PreTrainedTokenizerFast) and all(
        getattr(kind, name) is getattr(PreTrainedTokenizerFast, name) for name in _CALLED
    )
