"""Made-up examples of every task, for tests of the data stage."""

import pandas as pd

from xling.tasks import QuestionAnswering, SentenceClassification, TokenClassification

LABELS = ("entailment", "neutral", "contradiction")
TASK = SentenceClassification(LABELS)
WORDS = TokenClassification(("O", "B-PER"))
QUESTIONS = QuestionAnswering()


def make_examples(n: int = 12, language: str = "en") -> pd.DataFrame:
    """Three rows a premise, sorted by label: the order that a limit must survive."""
    rows = [
        (i, i // 3, f"{language} premise {i // 3} " + "word " * (i % 5), f"{language} claim {i}", LABELS[i % 3])
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["example_id", "group_id", "text", "text_pair", "label"]).sort_values("label")


def make_words(n: int) -> pd.DataFrame:
    """Sentences whose every word has a tag, of up to 41 words."""
    words = [["Ana", "goes", *["far"] * (i % 40)] for i in range(n)]
    tags = [["B-PER", "O", *["O"] * (i % 40)] for i in range(n)]
    return pd.DataFrame({"example_id": range(n), "group_id": range(n), "words": words, "tags": tags})


def make_questions(n: int) -> pd.DataFrame:
    """Questions with one answer each, in contexts of differing length."""
    contexts = ["Ana lives " + "far away " * (i % 30) + "in Rome." for i in range(n)]
    answers = [[{"text": "Rome", "start": context.index("Rome")}] for context in contexts]
    ids = {"example_id": range(n), "group_id": range(n)}
    return pd.DataFrame({**ids, "question": "Where does Ana live?", "context": contexts, "answers": answers})
