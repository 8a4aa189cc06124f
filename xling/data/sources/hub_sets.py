"""Data sets from the Hugging Face hub, or from its cache where the hub does not answer."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pandas as pd

from xling.data.examples import numbered
from xling.errors import UnreachableError, XlingValueError, close_matches
from xling.storage.hub import TIMEOUT_S, unreachable_errors


class HubSource:
    """Reads one language and split of a data set of the hub.

    Args:
        name: e.g. ``google-research-datasets/paws-x``.
        columns: the task's column -> the hub's, e.g. ``{text: sentence1, label: label}``; id and group may be among them.
        config: name of a language's configuration, e.g. ``"{language}"`` or ``"PAN-X.{language}"``.
        splits: our name of a split -> the hub's.
        parallel: whether an id, or a position where there is none, means the same content in every language.
        revision: commit of the data set; None: the newest.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str],
        *,
        config: str = "{language}",
        splits: Mapping[str, str],
        parallel: bool = False,
        revision: str | None = None,
    ) -> None:
        self.name, self.config, self.splits = name, config, dict(splits)
        self.columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
        self.parallel, self.revision = parallel, revision

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: unknown split, or a missing column.
            UnreachableError: the hub does not answer.
        """
        if split not in self.splits:
            hint = close_matches(split, self.splits)
            raise XlingValueError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}{hint}")
        frame = load_hub_frame(self.name, self.config.format(language=language), self.splits[split], self.revision)
        for theirs in self.columns.values():
            if theirs not in frame:
                found = ", ".join(map(str, frame.columns))
                raise XlingValueError(f"{self.name} {language}: expected a column {theirs!r}, found {found}")
        frame = pd.DataFrame({ours: frame[theirs] for ours, theirs in self.columns.items()})
        return numbered(frame, "" if self.parallel else f"{language}/")


def load_hub_frame(
    name: str, config: str, split: str, revision: str | None, advice: str = "use local files with data.root=FOLDER"
) -> pd.DataFrame:
    """Load one configuration and split, with class numbers turned into their names.

    Raises:
        UnreachableError: the hub does not answer and its cache lacks the set; `advice` says what else there is.
    """
    import datasets

    try:
        with _offline_unless(_hub_answers(name)):
            data = datasets.load_dataset(name, config, split=split, revision=revision)
    except (OSError, ValueError) as error:  # ConnectionError is an OSError; offline mode raises ValueError
        raise UnreachableError(
            f"cannot load {name} ({config}, {split}): the hub does not answer and its cache lacks it; {advice}, or set HF_HOME "
            "to a filled cache"
        ) from error
    frame = data.to_pandas()
    for column, feature in data.features.items():
        if isinstance(feature, datasets.ClassLabel):
            frame[column] = [feature.names[index] for index in frame[column]]
        elif isinstance(inner := getattr(feature, "feature", None), datasets.ClassLabel):
            frame[column] = [[inner.names[index] for index in row] for row in frame[column]]
    return frame


@functools.cache
def _hub_answers(name: str) -> bool:
    """Ask once a process, and briefly: load_dataset alone would retry for half a minute per file."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_S)
    except unreachable_errors():
        return False
    return True


@contextmanager
def _offline_unless(is_reachable: bool) -> Iterator[None]:
    """Let `datasets` look into its cache alone; the flag is what HF_HUB_OFFLINE=1 sets."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not is_reachable
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
