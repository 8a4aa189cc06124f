"""Words as word pieces, and sentences longer than the encoder takes as windows between words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from xling.data.examples import stable_id

WORD_BITS = 16
"""A word's id is its sentence's id and, in the lowest 16 bits, its position: unique over a set."""


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around a text.

    Attributes:
        before: ids before the text.
        after: ids after it.
    """

    before: list[int]
    after: list[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Frame":
        """Find them by encoding a text with and without special tokens."""
        inner = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        start = next(i for i in range(len(full)) if full[i : i + len(inner)] == inner)
        return cls(full[:start], full[start + len(inner) :])

    def room(self, max_length: int) -> int:
        """Number of word pieces that fit into `max_length` tokens."""
        return max_length - len(self.before) - len(self.after)


def pieces_of(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Encode each different word by itself; one that the tokenizer drops (a control character) is an unknown piece.

    Returns:
        Word -> ids of its pieces, at least one.
    """
    different = sorted(set(words))
    encoded = tokenizer(different, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return {word: list(ids) or [tokenizer.unk_token_id] for word, ids in zip(different, encoded, strict=True)}


def windows(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Cut a sentence between words so that every word is in exactly one window.

    Args:
        sizes: pieces of each word.
        room: pieces per window, >= 1; a longer word has a window of its own, in which its first pieces stand.

    Yields:
        First word and word after the last.

    >>> list(windows([2, 2, 3, 9, 1], room=5))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    start, used = 0, 0
    for index, size in enumerate(sizes):
        if index > start and used + size > room:
            yield start, index
            start, used = index, 0
        used += size
    if len(sizes) > start:
        yield start, len(sizes)


def window_id(example_id: int, first: int) -> int:
    """Id of the window that begins with word (or token) `first`: the example's own for the first window.

    >>> window_id(17, 0), window_id(17, 40) == window_id(17, 80)
    (17, False)
    """
    return example_id if first == 0 else stable_id(f"{example_id}+{first}")
