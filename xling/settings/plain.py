"""Turns settings into plain values, as they are written to config.yaml."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

from xling.freezing.plan import FreezePlan
from xling.interventions.plan import InterventionPlan

EMPTY_MEANS_NULL = ("languages", "target_languages")
"""Settings whose empty list is written as null: all languages that there are."""


@singledispatch
def to_plain(value: Any) -> Any:
    """Turn a part of the settings, or a container of such, into mappings, lists and scalars, as YAML holds them."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    plain = {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    plain |= {name: None for name in EMPTY_MEANS_NULL if plain.get(name) == []}
    return plain | plain.pop("named", {})


@to_plain.register
def _(value: Mapping) -> dict:
    return {key: to_plain(entry) for key, entry in value.items()}


@to_plain.register(tuple)
@to_plain.register(list)
def _(value: tuple | list) -> list:
    return [to_plain(entry) for entry in value]


@to_plain.register
def _(value: Path) -> str:
    return str(value)


@to_plain.register
def _(value: FreezePlan) -> dict:
    # written only where it is set, since the records of older versions lack it and must stay equal
    table = {"word_embeddings": True} if value.with_word_embeddings else {}
    return {"strategy": value.strategy, "dropout": value.dropout, **table, **to_plain(value.options)}


@to_plain.register
def _(value: InterventionPlan) -> dict:
    return {"kind": value.kind, **to_plain(value.options)}
