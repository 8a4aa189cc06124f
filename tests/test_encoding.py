"""Texts are encoded in one batch of the library, and get the ids that calling the tokenizer gives."""

import pytest
from transformers import PreTrainedTokenizerFast

from xling.data.lazy_tokenizer import LazyTokenizer
from xling.models.tiny import tiny_tokenizer
from xling.tasks.encoding import _CALLED, encode_texts

TEXTS = [("A nurse reads.",), ("",), ("[SEP] is a word here",), ("语言 🙂 " * 60,), ("  two  spaces\n",)]
PAIRS = [(*first, *second) for first, second in zip(TEXTS, reversed(TEXTS), strict=True)]


def called(tokenizer, texts):
    sides = map(list, zip(*texts, strict=True))
    return dict(tokenizer(*sides, truncation=False, return_attention_mask=False, verbose=False))


@pytest.mark.parametrize("texts", [TEXTS, PAIRS, TEXTS[:1]], ids=["texts", "pairs", "one"])
@pytest.mark.parametrize("splits_special_tokens", [False, True])
@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids"]])
def test_texts_get_the_ids_of_a_call(names, splits_special_tokens, texts):
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names, tokenizer.split_special_tokens = names, splits_special_tokens
    expected = called(tokenizer, texts)
    assert encode_texts(tokenizer, texts) == expected
    assert list(expected) == [name for name in names if name != "attention_mask"]
    assert encode_texts(LazyTokenizer(lambda: tokenizer, "key"), texts) == expected


def test_an_earlier_call_that_cut_and_padded_leaves_no_trace():
    tokenizer = tiny_tokenizer()
    expected = encode_texts(tokenizer, PAIRS)
    tokenizer(["a", "b c d e f"], truncation=True, max_length=4, padding="max_length")
    assert encode_texts(tokenizer, PAIRS) == expected


def test_a_tokenizer_that_encodes_in_its_own_way_is_called(monkeypatch):
    class Shouting(PreTrainedTokenizerFast):
        def _encode_plus(self, text, *args, **kwargs):
            return super()._encode_plus([each.upper() for each in text], *args, **kwargs)

    whole = tiny_tokenizer()
    loud = Shouting(tokenizer_object=whole.backend_tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    assert encode_texts(loud, [("ab",)]) == encode_texts(loud, [("AB",)])
    assert encode_texts(whole, [("ab",)]) != encode_texts(whole, [("AB",)])


def test_the_methods_that_a_tokenizer_may_have_of_its_own_exist():
    assert all(callable(getattr(PreTrainedTokenizerFast, name)) for name in _CALLED)
