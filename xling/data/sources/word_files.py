"""Reads tagged words, from CoNLL-U files and from files with one word and its tag per line."""

import collections
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from xling.data.examples import place_of
from xling.data.sources.text import NumberedLine, numbered_lines
from xling.errors import XlingValueError

_N_CONLLU_COLUMNS = 10
_WORD, _SPAN, _EMPTY_NODE = re.compile(r"\d+"), re.compile(r"\d+-\d+"), re.compile(r"\d+\.\d+")

_NO_VALUE = "_"
_PREFIX = re.compile(r"([a-z]{2,}(?:-[a-z]+)*:).")
_HEADERS = (
    {"word", "words", "token", "tokens", "form"},
    {"tag", "tags", "ner_tags", "label", "labels", "ner", "pos", "upos"},
)


class ConlluReader:
    """Reads a CoNLL-U file: words and their tags, one row per sentence, named by its ``sent_id`` where it has one.

    The words are the syntactic words: the parts of a multi-word token (line ``3-4``) are read and not the token, and an empty node
    (line ``8.1``) is left out. A tag ``_`` means that a word has no tag.

    Args:
        column: column that holds the tag, ``upos`` or ``xpos``.

    Raises:
        XlingValueError: `column` is neither of these.

    References:
        https://universaldependencies.org/format.html
    """

    def __init__(self, column: str = "upos") -> None:
        columns = {"upos": 3, "xpos": 4}
        if column not in columns:
            raise XlingValueError(f"expected a CoNLL-U column upos or xpos as tags, found {column!r}")
        self.column = columns[column]

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Read one file; gives the columns words and tags (lists of text), id where sentences have one, and line.

        Raises:
            XlingValueError: a line is malformed, which the message names, or the treebank comes without its words.
        """
        rows = []
        for lines in _blocks(path):
            comments = [text for _, text in lines if text.startswith("#")]
            pairs = list(self._words(path, [line for line in lines if not line[1].startswith("#")]))
            if pairs:
                words, tags = zip(*pairs, strict=True)
                rows.append({"words": list(words), "tags": list(tags), "id": _sent_id(comments), "line": lines[0][0]})
        frame = pd.DataFrame(rows, columns=["words", "tags", "id", "line"])
        _refuse_wordless(path, frame["words"].tolist())
        return frame if frame["id"].notna().all() else frame.drop(columns="id")

    def _words(self, path: Path, lines: list[NumberedLine]) -> Iterator[tuple[str, str]]:
        expected = 1
        for number, text in lines:
            fields = text.split("\t")
            if len(fields) != _N_CONLLU_COLUMNS:
                raise XlingValueError(
                    f"{path}, line {number}: expected 10 columns separated by tabs, found {len(fields)}; correct the line"
                )
            if _SPAN.fullmatch(fields[0]) or _EMPTY_NODE.fullmatch(fields[0]):
                continue
            if not _WORD.fullmatch(fields[0]) or int(fields[0]) != expected or not fields[1]:
                raise XlingValueError(
                    f"{path}, line {number}: expected word {expected} of its sentence, found {text[:40]!r}; number the words from 1"
                )
            expected += 1
            tag = fields[self.column]
            yield fields[1], "" if tag == _NO_VALUE else tag


def _refuse_wordless(path: Path, sentences: list[list[str]]) -> None:
    """Refuse treebanks that are published without their text, with ``_`` in place of every word; a real ``_`` is rare."""
    words = [word for sentence in sentences for word in sentence]
    n_bare = words.count(_NO_VALUE)
    if 2 * n_bare > len(words):
        raise XlingValueError(
            f"{path}: expected words in column FORM, found _ for {n_bare} of {len(words)}; this treebank is published without its "
            "text: add it by the treebank's own script"
        )


class TagReader:
    """Reads columns separated by tabs (or spaces): a word and its tag on a line, a blank line after each sentence.

    Where most words of a file begin with a language and a colon, as in WikiANN's release (``en:Karl``), this is removed from each
    word that has it. A line ``-DOCSTART-`` (CoNLL-2003) ends a sentence and is left out. So is a comment, which is a line before
    a sentence's first word that begins with ``# `` and does not have the sentence's columns, or has no tag of the file.

    Args:
        word: number of the word's column, from 0.
        tag: number of the tag's column, from 0; -1 is the last.
    """

    def __init__(self, word: int = 0, tag: int = -1) -> None:
        self.word, self.tag = word, tag

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Read one file; gives the columns words and tags (lists of text), and line.

        Raises:
            XlingValueError: a line is malformed or a header, which the message names.
        """
        blocks = list(_blocks(path, is_end=lambda text: text.startswith("-DOCSTART-")))
        known = {self._split(text)[self.tag] for lines in blocks for _, text in lines if not text.startswith("#")}
        known.add("O")
        sentences = []
        for number, lines in enumerate(blocks):
            lines = self._without_comments(lines, known)
            if number == 0:
                self._refuse_header(path, lines, blocks)
            if lines:
                sentences.append((lines[0][0], [self._fields(path, *line) for line in lines]))
        prefix = _common_prefix([word for _, sentence in sentences for word, _ in sentence])
        rows = [
            ([_without(prefix, word) for word, _ in sentence], [tag for _, tag in sentence], line)
            for line, sentence in sentences
        ]
        return pd.DataFrame(rows, columns=["words", "tags", "line"])

    def _split(self, text: str) -> list[str]:
        fields = text.split("\t") if "\t" in text else text.split()
        return fields if len(fields) > max(self.word, self.tag) else [*fields, *[""] * (max(self.word, self.tag) + 1)]

    def _without_comments(self, lines: list[NumberedLine], known: set[str]) -> list[NumberedLine]:
        n_columns = {len(self._split(text)) for _, text in lines if not text.startswith("#")}
        start = 0
        while start < len(lines) and self._is_comment(lines[start][1], n_columns, known):
            start += 1
        return lines[start:]

    def _is_comment(self, text: str, n_columns: set[int], known: set[str]) -> bool:
        fields = self._split(text)
        return text.startswith("# ") and (
            len(fields) not in n_columns or fields[0] != "#" or fields[self.tag] not in known
        )

    def _refuse_header(self, path: Path, lines: list[NumberedLine], blocks: list[list[NumberedLine]]) -> None:
        if not lines:
            return
        number, text = lines[0]
        fields = [field.lower() for field in self._split(text)]
        tag = self._split(text)[self.tag]
        others = (self._split(t)[self.tag] for block in blocks for n, t in block if n != number)
        if fields[self.word] in _HEADERS[0] and fields[self.tag] in _HEADERS[1] and tag not in others:
            raise XlingValueError(
                f"{place_of(path, number)}: expected a word and its tag, found a header ({', '.join(fields)}); delete that line"
            )

    def _fields(self, path: Path, number: int, text: str) -> tuple[str, str]:
        fields = text.split("\t") if "\t" in text else text.split()
        last = max(self.word, self.tag, 1)
        if len(fields) <= last or not fields[self.word].strip() or not fields[self.tag].strip():
            raise XlingValueError(
                f"{place_of(path, number)}: expected a word and its tag, found {text[:40]!r}; check that the file has tags and "
                "which columns they are (data.source.reader.word and .tag)"
            )
        return fields[self.word], fields[self.tag]


def _common_prefix(words: list[str]) -> str:
    """Find the ``<language>:`` with which most words begin; empty where there is none."""
    found = collections.Counter(match[1] for word in words if (match := _PREFIX.match(word)))
    prefix, count = found.most_common(1)[0] if found else ("", 0)
    return prefix if 2 * count > len(words) else ""


def _without(prefix: str, word: str) -> str:
    return word[len(prefix) :] if prefix and word.startswith(prefix) and len(word) > len(prefix) else word


def _blocks(path: Path, is_end: Callable[[str], bool] = lambda text: False) -> Iterator[list[NumberedLine]]:
    """Yield the blocks of a file, lines with their numbers, which blank lines (or lines that `is_end` accepts) separate."""
    block: list[NumberedLine] = []
    for number, text in numbered_lines(path):
        if text.strip() and not is_end(text):
            block.append((number, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _sent_id(comments: list[str]) -> str | None:
    matches = (re.fullmatch(r"#\s*sent_id\s*=\s*(.*\S)\s*", comment) for comment in comments)
    return next((match[1] for match in matches if match), None)
