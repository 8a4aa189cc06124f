"""Offers the embedded data set ``mini_nli`` as a source of examples."""

from pathlib import Path

import pandas as pd

from xling.data.mini_nli.sentence_pairs import available_languages, generate
from xling.errors import check_known


class MiniNliSource:
    """Generates one language and split of ``mini_nli``; see ``docs/mini_nli.md``.

    Args:
        n_premises: split -> number of premises; each has three pairs.
        language_dir: folder with further ``<language>.yaml`` files.
        seed: seed of the draw.
    """

    def __init__(self, n_premises: dict[str, int], language_dir: str | Path | None = None, seed: int = 0) -> None:
        self.n_premises, self.language_dir, self.seed = dict(n_premises), language_dir, seed

    is_local = True

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language that has a file."""
        return tuple(available_languages(self.language_dir))

    def count_rows(self, language: str, split: str) -> int | None:
        """Number of examples, without generating them; None for a split that does not exist."""
        return 3 * self.n_premises[split] if split in self.n_premises else None

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Generate examples, groups being premises; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: the language or split is unknown.
        """
        check_known("mini_nli split", split, self.n_premises)
        frame = generate(language, self.n_premises[split], split=split, seed=self.seed, language_dir=self.language_dir)
        return frame.rename(columns={"premise_id": "group_id", "premise": "text", "hypothesis": "text_pair"})
