"""Reads questions on paragraphs in SQuAD's JSON layout, which XQuAD, MLQA and TyDi QA (gold passage) have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from xling.data.examples import place_of
from xling.data.sources.text import check_unicode, opened
from xling.errors import XlingValueError


class SquadReader:
    """Reads ``{"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}``.

    Questions on one paragraph are a group, named by its place in the file, which is the same in every language of XQuAD.
    """

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Read one file; gives the columns context, question, answers (lists of text and start), id, group and line.

        Raises:
            XlingValueError: the file is no JSON in this layout; the message names what is missing.
        """
        try:
            with opened(path) as file:
                data = json.load(file)
        except XlingValueError:
            raise
        except ValueError as error:
            raise XlingValueError(f"{path}: expected a JSON file in SQuAD's layout; {error}") from error
        try:
            rows = list(_questions(data, str(path)))
        except (KeyError, TypeError, AttributeError) as error:
            raise XlingValueError(
                f"{path}: expected SQuAD's layout (data, paragraphs, context, qas, id, question, answers, text, answer_start), "
                f"found no {error}"
            ) from error
        return pd.DataFrame(rows, columns=["context", "question", "answers", "id", "group", "line"])


def _questions(data: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    for number, article in enumerate(data["data"]):
        for place, paragraph in enumerate(article["paragraphs"]):
            for qa in paragraph["qas"]:
                line = f"article {number + 1}, paragraph {place + 1}"
                row = place_of(where, line, qa["id"])
                answers = [_answer(answer, row) for answer in qa["answers"]]
                names = {"id": str(qa["id"]), "group": f"paragraph {number}.{place}", "line": line}
                texts = {name: _text(value, row) for name, value in _texts_of(paragraph, qa)}
                yield texts | {"answers": answers} | names


def _texts_of(paragraph: dict[str, Any], qa: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "context", paragraph["context"]
    yield "question", qa["question"]


def _answer(answer: dict[str, Any], where: str) -> dict[str, Any]:
    start = answer["answer_start"]
    if isinstance(start, bool) or not isinstance(start, int):
        raise XlingValueError(
            f"{where}: expected answer_start to be the number of a character, found {start!r}; say where the answer begins"
        )
    return {"text": _text(answer["text"], where), "start": start}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise XlingValueError(f"{where}: expected a text, found {value!r}; correct the file")
    return check_unicode(value, where)
