"""Stores pooled representations on disk: one safetensors file with ids, fingerprint and checksum inside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.storage.atomic import atomic_path
from xling.storage.hashing import sha256

_IDS, _GROUPS = "example_ids", "group_ids"
_FACTS = "xling"
"""Key of the facts in the file's metadata."""


@dataclass(frozen=True)
class Representations:
    """One vector per example and layer.

    Attributes:
        layers: label (``layer_07`` or a module's name) -> [n_examples, hidden]; widths may differ between layers.
        example_ids: [n_examples] int64, ascending and unique; row r of every layer belongs to ``example_ids[r]``.
        facts: name -> text, on what they were made from and how, e.g. fingerprint and pooling.
        group_ids: [n_examples] int64, the group of each row; rows of one group are not independent; None where not known.
    """

    layers: dict[str, Tensor]
    example_ids: Annotated[Tensor, "[n] int64"]
    facts: dict[str, str] = field(default_factory=dict)
    group_ids: Annotated[Tensor, "[n] int64"] | None = None

    def to(self, device: torch.device | str) -> "Representations":
        """Give the same representations on another device."""
        layers = {label: layer.to(device) for label, layer in self.layers.items()}
        groups = None if self.group_ids is None else self.group_ids.to(device)
        return Representations(layers, self.example_ids.to(device), self.facts, groups)

    def in_groups(
        self, example_ids: Annotated[Tensor, "[m] int64"], group_ids: Annotated[Tensor, "[m] int64"]
    ) -> "Representations":
        """Give the same representations with other groups.

        Args:
            example_ids: ids of examples, [m] int64 on the CPU, in any order.
            group_ids: their groups, [m] int64.

        Returns:
            The representations with these groups, or as they were where some of their examples is not among `example_ids`.
        """
        order = example_ids.argsort()
        place = torch.searchsorted(example_ids[order], self.example_ids.cpu()).clamp_(max=len(order) - 1)
        if not torch.equal(example_ids[order][place], self.example_ids.cpu()):
            return self
        return replace(self, group_ids=group_ids[order][place].to(self.example_ids.device))

    def find(
        self, example_ids: Annotated[Tensor, "[n] int64"]
    ) -> tuple[Annotated[Tensor, "[n] int64"], Annotated[Tensor, "[n] bool"]]:
        """Look up `example_ids`, [b] int64 on the same device.

        Returns:
            Row of each id, [b] int64, which means nothing where the id is unknown, and whether it is known, [b] bool.
        """
        rows = torch.searchsorted(self.example_ids, example_ids).clamp_(max=len(self.example_ids) - 1)
        return rows, self.example_ids[rows] == example_ids

    def rows(self, example_ids: Annotated[Tensor, "[n] int64"]) -> Annotated[Tensor, "[n] int64"]:
        """Find the rows that hold `example_ids`, [b] int64 on the same device.

        Raises:
            XlingValueError: an id is not among those of the representations.
        """
        index, is_known = self.find(example_ids)
        if not is_known.all():
            raise XlingValueError(
                f"example {example_ids[~is_known][0].item()} has no base representation: the probe set differs from the one "
                "seen before training; use the same probe, or another cache or output folder"
            )
        return index


def save_representations(representations: Representations, path: Path | str) -> None:
    """Write `representations` to `path`, atomically."""
    tensors = {label: tensor.contiguous().cpu() for label, tensor in representations.layers.items()}
    tensors[_IDS] = representations.example_ids.cpu()
    if representations.group_ids is not None:
        tensors[_GROUPS] = representations.group_ids.cpu()
    facts = representations.facts | {"layers": json.dumps(list(representations.layers)), "sha256": _checksum(tensors)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_FACTS: json.dumps(facts)})


def load_representations(
    path: Path | str, expected: Mapping[str, str] | None = None, device: torch.device | str = "cpu"
) -> Representations:
    """Read what :func:`save_representations` wrote.

    Args:
        path: path of the file.
        expected: facts that the file must agree with, e.g. ``{"fingerprint": ...}``.
        device: device on which the tensors are wanted.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: the file is truncated, was altered, or was made from something else than expected.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"expected representations at {path}, found no file; run the base pass again")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptArtefactError(
            f"{path} is not a whole representations file ({error}); delete it and run again"
        ) from error
    if _checksum(tensors) != facts.pop("sha256", None):
        raise CorruptArtefactError(
            f"{path} has changed since it was written (checksum differs); delete it and run again"
        )
    for name, value in (expected or {}).items():
        if facts.get(name) != value:
            raise CorruptArtefactError(
                f"{path} was made with {name} = {facts.get(name)}, expected {value}; delete it or use another folder"
            )
    labels = json.loads(facts.pop("layers"))
    layers = {label: tensors[label] for label in labels}
    return Representations(layers, tensors[_IDS], facts, tensors.get(_GROUPS)).to(device)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, dtypes, shapes and bytes of the tensors, whatever their order."""
    parts: list[str | memoryview] = []
    for name in sorted(tensors):
        tensor = tensors[name]
        parts += [f"{name} {tensor.dtype} {tuple(tensor.shape)}", tensor.contiguous().view(torch.uint8).numpy().data]
    return sha256(*parts)
