"""Loads a tokenizer when it is first needed; where all examples are tokenised already, it is never loaded."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase


class LazyTokenizer:
    """Behaves as the tokenizer that `load` gives, and loads it at the first call or attribute asked for.

    Loading a tokenizer of 250,000 pieces and hashing it takes three seconds, half of a start's time after the imports.

    Args:
        load: function that loads the tokenizer.
        key: hash of the files the tokenizer is made of; with another key, examples are tokenised again.
    """

    def __init__(self, load: Callable[[], PreTrainedTokenizerBase], key: str) -> None:
        self._load, self.key = load, key

    @cached_property
    def loaded(self) -> PreTrainedTokenizerBase:
        """The tokenizer itself, loaded if it has not been yet."""
        return self._load()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.loaded(*args, **kwargs)

    def __len__(self) -> int:
        return len(self.loaded)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling ask for these
            raise AttributeError(name)
        return getattr(self.loaded, name)
