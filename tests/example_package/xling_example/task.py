"""A task: does the hypothesis follow, yes or no? XNLI's three labels folded into two."""

from dataclasses import dataclass

import pandas as pd

from xling.tasks import SentenceClassification


@dataclass(frozen=True)
class Agreement(SentenceClassification):
    """Sentence classification over the labels ``yes`` (entailment) and ``no`` (neutral or contradiction)."""

    def check(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Fold the labels, then check as sentence classification does."""
        folded = frame.assign(label=frame["label"].map(lambda label: "yes" if label == "entailment" else "no"))
        return super().check(folded, where)
