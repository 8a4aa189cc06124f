"""Encodes words as word pieces, and cuts sentences that are longer than the encoder takes into windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from xling.data.examples import stable_id

WORD_BITS = 16
"""Number of bits for a word's position. A word's id is its sentence's id followed by these bits, and so unique over a set."""


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens that a tokenizer puts around a text.

    Attributes:
        before: ids of the tokens before the text.
        after: ids of the tokens after it.
    """

    before: list[int]
    after: list[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "SpecialTokens":
        """Find a tokenizer's special tokens by encoding a text with and without them."""
        inner = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        start = next(i for i in range(len(full)) if full[i : i + len(inner)] == inner)
        return cls(full[:start], full[start + len(inner) :])

    def room(self, max_length: int) -> int:
        """Number of word pieces that fit into `max_length` tokens."""
        return max_length - len(self.before) - len(self.after)


def pieces_of(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Encode each different word by itself.

    A word of which the tokenizer leaves nothing (a control character, say) becomes its token for unknown words.

    Returns:
        Word -> ids of its pieces, at least one.
    """
    different = sorted(set(words))
    encoded = tokenizer(different, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return {word: list(ids) or [tokenizer.unk_token_id] for word, ids in zip(different, encoded, strict=True)}


def windows(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Cut a sentence between words so that every word is in exactly one window.

    Args:
        sizes: number of word pieces of each word.
        room: largest number of pieces per window, at least 1; a longer word has a window of its own, which holds its first pieces.

    Yields:
        Index of a window's first word, and of the word after its last.

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
    """Make the id of the window that begins with word (or token) `first`; a first window has the example's own id.

    >>> window_id(17, 0), window_id(17, 40) == window_id(17, 80)
    (17, False)
    """
    return example_id if first == 0 else stable_id(f"{example_id}+{first}")
