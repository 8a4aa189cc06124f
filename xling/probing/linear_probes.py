"""Measures which labels and which language can be read, layer by layer, from the rows of several languages."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xling.errors import XlingValueError
from xling.probing.discriminant import deal_groups, held_out_predictions
from xling.similarity.precision import similarity_precision


@dataclass(frozen=True)
class LabelledRows:
    """The pooled representations of one language.

    Attributes:
        layers: label of the layer -> representations ``[n, d]`` floating point.
        groups: id of each row's group, ``[n]`` int64; rows of one group are not independent.
        labels: class per row ``[n]`` int64, below 0 where a row has none; None where no row has one.
    """

    layers: dict[str, Tensor]
    groups: Tensor
    labels: Tensor | None = None

    def with_layers(self, layers: dict[str, Tensor]) -> "LabelledRows":
        """Give the same examples with their representations in another state of the encoder."""
        return replace(self, layers=layers)


@dataclass(frozen=True)
class Readable:
    """What can be read from one layer of one language.

    Attributes:
        label: fraction of its rows whose label is recognised, 0..1, or NaN.
        language: fraction of its rows whose language is recognised, 0..1, or NaN.
        reason: why a number is NaN, else empty.
    """

    label: float
    language: float
    reason: str


def read_layers(rows: Mapping[str, LabelledRows], device: torch.device) -> dict[str, list[Readable]]:
    """Fit the classifiers on every layer, and try them on groups that they have not seen.

    Args:
        rows: language -> its rows; all languages have the same layers.
        device: device on which the classifiers are fitted.

    Returns:
        Language -> what can be read, one entry per layer.
    """
    with similarity_precision(device.type):
        return _read_each(rows, device)


def _read_each(rows: Mapping[str, LabelledRows], device: torch.device) -> dict[str, list[Readable]]:
    found: dict[str, list[Readable]] = {language: [] for language in rows}
    for layer in next(iter(rows.values())).layers:
        at_layer = {
            language: replace(part, layers={layer: part.layers[layer].to(device)}) for language, part in rows.items()
        }
        languages, why_no_language = _read_languages(at_layer, layer)
        for language, part in at_layer.items():
            label, why_no_label = _read_labels(part, layer)
            reason = "; ".join(filter(None, [why_no_label, why_no_language]))
            found[language].append(Readable(label, languages.get(language, math.nan), reason))
    return found


def majority(labels: Tensor | None) -> float:
    """Give the fraction of rows with the most frequent label among those that have one, 0..1; NaN where none has."""
    labels = None if labels is None else labels[labels >= 0]
    return float(torch.bincount(labels).max() / len(labels)) if labels is not None and len(labels) else math.nan


def _read_labels(rows: LabelledRows, layer: str) -> tuple[float, str]:
    if rows.labels is None:
        return math.nan, "the rows have no labels"
    labelled = rows.labels >= 0
    labels = rows.labels[labelled]
    x = rows.layers[layer][labelled.to(rows.layers[layer].device)]
    return _accuracy(x, labels, deal_groups(rows.groups[labelled]))


def _read_languages(rows: Mapping[str, LabelledRows], layer: str) -> tuple[dict[str, float], str]:
    x = torch.cat([part.layers[layer] for part in rows.values()])
    language = torch.cat([torch.full((len(part.groups),), code) for code, part in enumerate(rows.values())])
    # the translations of one example share its group, so that no classifier sees in training what it is tried on
    folds = deal_groups(torch.cat([part.groups for part in rows.values()]))
    try:
        predicted = _predict(x, language, folds)
    except XlingValueError as error:
        return {}, f"no language read: {error}"
    right = predicted == language
    return {name: float(right[language == code].double().mean()) for code, name in enumerate(rows)}, ""


def _accuracy(x: Tensor, labels: Tensor, folds: Tensor) -> tuple[float, str]:
    try:
        return float((_predict(x, labels, folds) == labels).double().mean()), ""
    except XlingValueError as error:
        return math.nan, f"no label read: {error}"


def _predict(x: Tensor, labels: Tensor, folds: Tensor) -> Tensor:
    return held_out_predictions(x.float(), labels.to(x.device), folds.to(x.device)).cpu()
