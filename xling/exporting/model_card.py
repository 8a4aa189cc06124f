"""Writes the model card of an exported model: what it is, how it was made, what it scored, how to use it."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from xling.runs.recipe import describe_recipe
from xling.runs.subject import describe_subject
from xling.settings import RunSettings

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

PIPELINES = {
    "SequenceClassifier": ("text-classification", "AutoModelForSequenceClassification"),
    "TokenClassifier": ("token-classification", "AutoModelForTokenClassification"),
    "SpanClassifier": ("question-answering", "AutoModelForQuestionAnswering"),
}
"""Kind of module -> the hub's name for its task, and the class that loads it."""

_CUT = {
    "AutoModelForSequenceClassification": 'cut at the end of the first text (`truncation="only_first"` for pairs)',
    "AutoModelForTokenClassification": "cut between words into several",
    "AutoModelForQuestionAnswering": "cut into overlapping windows of the context",
}


def model_card(
    settings: RunSettings,
    records: Mapping[str, Mapping[str, Any]],
    transfer: pd.DataFrame,
    kind: str,
    needs_own_code: bool,
) -> str:
    """Write the card.

    Args:
        settings: settings of the run.
        records: records of the run under ``environment``, ``data`` and ``manifest``.
        transfer: scores of the run, columns of :data:`xling.runs.tables.TRANSFER`; those of the last validation are shown.
        kind: kind of the run's module, a key of :data:`PIPELINES`.
        needs_own_code: whether the folder is loaded with ``trust_remote_code=True``.

    Returns:
        Markdown with the hub's header of YAML.
    """
    subject, (pipeline, auto_class) = describe_subject(settings), PIPELINES[kind]
    header: dict[str, Any] = {"language": [settings.source_language], "library_name": "transformers"}
    header |= {"pipeline_tag": pipeline, "tags": ["xling", "cross-lingual-transfer"]}
    if settings.model.weights != "tiny" and _HUB_ID.fullmatch(settings.model.name_or_path):
        header["base_model"] = settings.model.name_or_path
    version = records["environment"].get("xling", "")
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
            "---",
            f"# {settings.model.name} fine-tuned on {settings.source_language}",
            "",
            f"{subject['encoder']}, fine-tuned for {subject['task']} on {subject['data_set']} in one language, "
            f"`{settings.source_language}`, and scored on others without any of their labels (zero-shot cross-lingual transfer).",
            "",
            describe_recipe(settings, records["environment"], records["data"]),
            f"Seed {settings.seed}. Study {settings.study}, made by xling {version}, finished "
            f"{records['manifest']['finished'][:10]}.",
            "",
            "## Use",
            "",
            *_usage(settings, auto_class, needs_own_code),
            "",
            "## Scores",
            "",
            *_scores(transfer, settings),
            "",
            "## Limits",
            "",
            "One run with one seed: scores vary between seeds. The licences of the base model and of the training data apply to "
            "these weights; see there before they are passed on.",
            "",
        ]
    )


def _usage(settings: RunSettings, auto_class: str, needs_own_code: bool) -> list[str]:
    cut = _CUT[auto_class]
    trust = ", trust_remote_code=True" if needs_own_code else ""
    why = [
        "",
        "`trust_remote_code=True` runs `modeling_xling.py` of this folder: transformers has no class with this head. Where "
        "xling is installed, `import xling.exporting` before makes the lines work without it.",
    ]
    return [
        "```python",
        f"from transformers import AutoTokenizer, {auto_class}",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})',
        f'model = {auto_class}.from_pretrained("FOLDER"{trust})',
        "```",
        *(why if needs_own_code else []),
        "",
        f"Inputs had at most {settings.data.max_length} tokens, the tokenizer's `model_max_length`; longer ones were {cut}.",
    ]


def _scores(transfer: pd.DataFrame, settings: RunSettings) -> list[str]:
    last = transfer[transfer["step"] == transfer["step"].max()]
    metric = str(last["metric"].iloc[0])
    rows = [
        f"| {row.target_language}{' (trained on)' if row.is_in_language else ''} | {row.score:.3f} | {row.n_examples:,} |"
        for row in last.itertuples()
    ]
    split = f"On the split “{settings.data.probe_split}”, as a fraction of 1:"
    return [split, "", f"| language | {metric} | examples |", "|---|---|---|", *rows]
