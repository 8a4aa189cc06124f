"""Reader of questions on paragraphs in SQuAD's JSON layout: XQuAD, MLQA, TyDi QA (gold passage)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from xling.errors import XlingValueError


class SquadReader:
    """Reads ``{"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}``.

    Questions on one paragraph are a group, named by its place in the file, which is the same in every language of XQuAD.
    """

    def __call__(self, path: Path, language: str) -> pd.DataFrame:
        """Columns context, question, answers (lists of text and start), id, group.

        Raises:
            XlingValueError: not JSON in this layout; names the file and what is missing.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise XlingValueError(f"{path}: expected a JSON file in SQuAD's layout; {error}") from error
        try:
            rows = list(_questions(data))
        except (KeyError, TypeError) as error:
            raise XlingValueError(
                f"{path}: expected SQuAD's layout (data, paragraphs, context, qas, id, question, answers, text, answer_start), "
                f"found no {error}"
            ) from error
        return pd.DataFrame(rows, columns=["context", "question", "answers", "id", "group"])


def _questions(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, article in enumerate(data["data"]):
        for place, paragraph in enumerate(article["paragraphs"]):
            for qa in paragraph["qas"]:
                answers = [{"text": a["text"], "start": a["answer_start"]} for a in qa["answers"]]
                names = {"id": str(qa["id"]), "group": f"paragraph {number}.{place}"}
                yield {"context": paragraph["context"], "question": qa["question"], "answers": answers} | names
