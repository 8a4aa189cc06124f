"""Readers of tagged words: CoNLL-U, and columns with a BIO tag."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from xling.errors import XlingValueError

_N_CONLLU_COLUMNS = 10
_WORD, _SPAN, _EMPTY_NODE = re.compile(r"\d+"), re.compile(r"\d+-\d+"), re.compile(r"\d+\.\d+")

NumberedLine = tuple[int, str]


class ConlluReader:
    """Reads a CoNLL-U file: words and their tags, one row per sentence, named by its ``sent_id`` where it has one.

    The words are the syntactic ones: of a multi-word token (line ``3-4``) its parts count, an empty node (``8.1``) does not.

    Args:
        column: which of the columns is the tag: ``upos`` or ``xpos``.

    Raises:
        XlingValueError: another column.

    References:
        https://universaldependencies.org/format.html
    """

    def __init__(self, column: str = "upos") -> None:
        columns = {"upos": 3, "xpos": 4}
        if column not in columns:
            raise XlingValueError(f"expected a CoNLL-U column upos or xpos as tags, found {column!r}")
        self.column = columns[column]

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Columns words and tags (lists of text), and id where sentences have one.

        Raises:
            XlingValueError: names the file and the line that is malformed.
        """
        rows = []
        for lines in _blocks(path):
            comments = [text for _, text in lines if text.startswith("#")]
            pairs = list(self._words(path, [line for line in lines if not line[1].startswith("#")]))
            if pairs:
                words, tags = zip(*pairs, strict=True)
                rows.append({"words": list(words), "tags": list(tags), "id": _sent_id(comments)})
        frame = pd.DataFrame(rows, columns=["words", "tags", "id"])
        return frame if frame["id"].notna().all() else frame.drop(columns="id")

    def _words(self, path: Path, lines: list[NumberedLine]) -> Iterator[tuple[str, str]]:
        expected = 1
        for number, text in lines:
            fields = text.split("\t")
            if len(fields) != _N_CONLLU_COLUMNS:
                raise XlingValueError(
                    f"{path}, line {number}: expected 10 columns separated by tabs, found {len(fields)}"
                )
            if _SPAN.fullmatch(fields[0]) or _EMPTY_NODE.fullmatch(fields[0]):
                continue
            if not _WORD.fullmatch(fields[0]) or int(fields[0]) != expected or not fields[1]:
                raise XlingValueError(
                    f"{path}, line {number}: expected word {expected} of its sentence, found {text[:40]!r}"
                )
            expected += 1
            yield fields[1], fields[self.column]


class TagReader:
    """Reads columns separated by tabs (or spaces): a word and its tag on a line, a blank line after each sentence.

    Where every word of a file begins with ``<language>:``, as in WikiANN's release, that is taken off. Sentences that begin
    with ``-DOCSTART-`` (CoNLL-2003) are left out.

    Args:
        word: number of the word's column.
        tag: number of the tag's column; -1 is the last.
    """

    def __init__(self, word: int = 0, tag: int = -1) -> None:
        self.word, self.tag = word, tag

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Columns words and tags (lists of text).

        Raises:
            XlingValueError: names the file and the line that is malformed.
        """
        sentences = [[self._fields(path, *line) for line in lines] for lines in _blocks(path)]
        sentences = [sentence for sentence in sentences if sentence[0][0] != "-DOCSTART-"]
        prefix = f"{language}:"
        has_prefix = all(len(word) > len(prefix) and word.startswith(prefix) for s in sentences for word, _ in s)
        start = len(prefix) if has_prefix else 0
        rows = [([word[start:] for word, _ in sentence], [tag for _, tag in sentence]) for sentence in sentences]
        return pd.DataFrame(rows, columns=["words", "tags"])

    def _fields(self, path: Path, number: int, text: str) -> tuple[str, str]:
        fields = text.split("\t") if "\t" in text else text.split(" ")
        last = max(self.word, self.tag, 1)
        if len(fields) <= last or not fields[self.word] or not fields[self.tag]:
            raise XlingValueError(f"{path}, line {number}: expected a word and its tag, found {text[:40]!r}")
        return fields[self.word], fields[self.tag]


def _blocks(path: Path) -> Iterator[list[NumberedLine]]:
    """Lines of a file with their numbers, from blank line to blank line."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from _cut_at_blanks(enumerate((line.rstrip("\r\n") for line in file), start=1))
    except UnicodeDecodeError as error:
        raise XlingValueError(f"{path}: expected a text file in UTF-8; {error}") from error


def _cut_at_blanks(lines: Iterable[NumberedLine]) -> Iterator[list[NumberedLine]]:
    block: list[NumberedLine] = []
    for number, text in lines:
        if text.strip():
            block.append((number, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _sent_id(comments: list[str]) -> str | None:
    matches = (re.fullmatch(r"#\s*sent_id\s*=\s*(.*\S)\s*", comment) for comment in comments)
    return next((match[1] for match in matches if match), None)
