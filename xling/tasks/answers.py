"""Scores answers by exact match and F1, by the rules of SQuAD, with MLQA's normalisation per language.

Case, articles and punctuation (as Unicode defines it) do not count. F1 is over words; in Chinese and Japanese, which are written
without spaces, each ideograph or kana is a word. The articles are those in MLQA's script, and no articles are removed from a
language that is not in it.

References:
    Rajpurkar et al. 2016 (arXiv:1606.05250); Lewis et al. 2020 (arXiv:1910.07475) for the articles and segmentation.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\bال(?=\w)",
}
_WITHOUT_SPACES = ("zh", "ja")
_IDEOGRAPH_OR_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def normalised(text: str, language: str) -> list[str]:
    """List the words of a text in lower case, without punctuation and articles.

    >>> normalised("The  U.S. Army!", "en"), normalised("北京 A1", "zh")
    (['us', 'army'], ['北', '京', 'a1'])
    """
    text = "".join(letter for letter in text.lower() if not _is_punctuation(letter))
    if language in _ARTICLES:
        text = re.sub(_ARTICLES[language], " ", text)
    if language in _WITHOUT_SPACES:
        text = _IDEOGRAPH_OR_KANA.sub(r" \g<0> ", text)
    return text.split()


def exact_match(answer: str, true: Sequence[str], language: str) -> float:
    """Compute exact match: 1 if `answer` equals one of the `true` answers after normalisation, else 0."""
    words = normalised(answer, language)
    return float(any(words == normalised(t, language) for t in true))


def answer_f1(answer: str, true: Sequence[str], language: str) -> float:
    """Compute the largest F1 between the words of `answer` and those of one of the `true` answers, 0..1.

    >>> answer_f1("the red house", ["red barn", "a house"], "en")
    0.6666666666666666
    """
    return max(_f1(normalised(answer, language), normalised(t, language)) for t in true)


def _f1(words: list[str], true: list[str]) -> float:
    if not words or not true:
        return float(words == true)
    n_common = sum((Counter(words) & Counter(true)).values())
    return 2 * n_common / (len(words) + len(true))


def _is_punctuation(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P") or letter in "$+<=>^`|~"
