"""Names data set, task and encoder of a run in a few words, as a title needs them."""

from collections.abc import Mapping

from xling.settings import ObjectSettings, RunSettings

DATA_SETS = {"XnliSource": "XNLI", "MiniNliSource": "mini_nli, an embedded toy data set"}
TASKS = {
    "SentenceClassification": "sentence classification",
    "TokenClassification": "classification of words",
    "QuestionAnswering": "question answering",
}


def describe_subject(settings: RunSettings) -> Mapping[str, str]:
    """Name what was trained on what.

    Returns:
        ``data_set``, ``task`` and ``encoder``.
    """
    return {
        "data_set": _data_set(settings.data.source),
        "task": TASKS.get(_name(settings.data.task), _name(settings.data.task)),
        "encoder": f"{settings.model.name} ({settings.model.name_or_path})",
    }


def _name(given: ObjectSettings) -> str:
    return given.target.rpartition(".")[2]


def _data_set(source: ObjectSettings) -> str:
    """Name a data set by the class of its source, or by the pattern of its files where the source reads files of any kind."""
    pattern = source.arguments.get("pattern")
    return DATA_SETS.get(_name(source)) or (f"files {pattern}" if pattern else _name(source))
