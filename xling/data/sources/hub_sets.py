"""Reads data sets from the Hugging Face hub, or from its cache where the hub does not answer."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from xling.data.examples import numbered
from xling.data.sources.files import leave_out_untranslated
from xling.errors import UnreachableError, XlingValueError, close_matches
from xling.storage.hub import TIMEOUT_S, unreachable_errors


class HubSource:
    """Reads one language and split of a data set of the hub.

    Args:
        name: name of the data set on the hub, e.g. ``google-research-datasets/paws-x``.
        columns: column of the task -> column on the hub, e.g. ``{text: sentence1, label: label}``; id and group may be among them.
        config: name of a language's configuration, e.g. ``"{language}"`` or ``"PAN-X.{language}"``.
        splits: name of a split here -> its name on the hub.
        parallel: whether an id (or a position, in sets without ids) means the same content in every language.
        revision: commit of the data set; None: the newest.
        untranslated: see :class:`xling.data.sources.files.FileSource`.
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
        untranslated: Sequence[str] = (),
    ) -> None:
        self.name, self.config, self.splits = name, config, dict(splits)
        self.columns = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
        self.parallel, self.revision, self.untranslated = parallel, revision, tuple(untranslated)

    def __call__(self, language: str, split: str) -> pd.DataFrame:
        """Load examples; see :data:`xling.data.protocols.ExampleSource`.

        Raises:
            XlingValueError: the name is that of a folder, the split or configuration is unknown, or a column is missing.
            UnreachableError: the hub does not answer.
        """
        if Path(self.name).expanduser().is_dir():
            raise XlingValueError(
                f"expected the name of a data set on the hub, found a folder of this machine, {self.name}; read its files with "
                f"data=text_files data.root={self.name} (docs/tasks.md)"
            )
        if split not in self.splits:
            hint = close_matches(split, self.splits)
            raise XlingValueError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}{hint}")
        config = self.config.format(language=language)
        frame = load_hub_frame(self.name, config, self.splits[split], self.revision)
        for theirs in self.columns.values():
            if theirs not in frame:
                found = ", ".join(map(str, frame.columns))
                raise XlingValueError(f"{self.name} {language}: expected a column {theirs!r}, found {found}")
        frame = pd.DataFrame({ours: frame[theirs] for ours, theirs in self.columns.items()})
        frame["line"] = [f"row {number}" for number in range(1, len(frame) + 1)]
        where = f"{self.name} ({config}, {self.splits[split]})"
        return leave_out_untranslated(
            numbered(frame, "" if self.parallel else f"{language}/", where), self.untranslated, where
        )


def load_hub_frame(
    name: str, config: str, split: str, revision: str | None, advice: str = "use local files with data.root=FOLDER"
) -> pd.DataFrame:
    """Load one configuration and split, with class numbers turned into their names.

    Raises:
        XlingValueError: the hub answers, but has no such set, configuration or split.
        UnreachableError: the hub does not answer, and its cache lacks the set; the message repeats `advice`.
    """
    import datasets

    answers = _hub_answers(name)
    try:
        with _offline_unless(answers):
            data = datasets.load_dataset(name, config, split=split, revision=revision)
    except (OSError, ValueError) as error:  # ConnectionError is an OSError; offline mode raises ValueError
        if answers and isinstance(error, ValueError | FileNotFoundError):  # what is asked for is not there
            reason = str(error).strip().split("\n")[0]
            raise XlingValueError(f"cannot load {name} ({config}, {split}) from the hub: {reason}") from error
        raise UnreachableError(
            f"cannot load {name} ({config}, {split}): the hub does not answer and its cache lacks it; {advice}, or set HF_HOME "
            "to a filled cache"
        ) from error
    frame = data.to_pandas()
    for column, feature in data.features.items():
        if isinstance(feature, datasets.ClassLabel):
            frame[column] = [_class_name(feature.names, index) for index in frame[column]]
        elif isinstance(inner := getattr(feature, "feature", None), datasets.ClassLabel):
            frame[column] = [[_class_name(inner.names, index) for index in row] for row in frame[column]]
    return frame


def _class_name(names: Sequence[str], index: Any) -> str | None:
    """Look up the name of a class; None where the hub has -1 or nothing, since Python would take -1 for the last class."""
    return None if index is None or pd.isna(index) or index < 0 else names[int(index)]


@functools.cache
def _hub_answers(name: str) -> bool:
    """Ask the hub whether it answers, once per process; load_dataset by itself would retry for half a minute per file."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_S)
    except unreachable_errors():
        return False
    return True


@contextmanager
def _offline_unless(is_reachable: bool) -> Iterator[None]:
    """Have `datasets` look only into its cache unless the hub is reachable, by the flag that HF_HUB_OFFLINE=1 sets."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not is_reachable
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
