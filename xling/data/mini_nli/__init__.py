"""The embedded toy data set ``mini_nli``: parallel pairs of sentences in 15 languages, made by a grammar."""

from xling.data.mini_nli.sentence_pairs import available_languages, generate, load_language

__all__ = ["available_languages", "generate", "load_language"]
