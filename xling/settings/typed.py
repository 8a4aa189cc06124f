"""Turns plain values into settings, each checked against its type."""

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from xling.checks import check_bounds, check_choice, check_relative_folder, language_name
from xling.errors import XlingValueError, close_matches
from xling.settings.parts import ObjectSettings
from xling.settings.plain import EMPTY_MEANS_NULL

T = TypeVar("T")


def make(kind: type[T], values: Mapping[str, Any], group: str) -> T:
    """Make a part of the settings from plain values.

    Args:
        kind: dataclass of the part.
        values: setting -> value, as YAML holds them.
        group: name of the part, e.g. ``trainer``, for messages; empty for the whole.

    Raises:
        XlingValueError: a setting is missing, unknown or of another type.
    """
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a type variable cannot be bound to dataclasses
    unknown = {name: value for name, value in values.items() if name not in known}
    given = {name: value for name, value in values.items() if name in known}
    if "named" in known:
        given["named"] = dict(values.get("named", {})) | unknown
    elif unknown:
        name = next(iter(unknown))
        raise XlingValueError(f"unknown setting {_dotted(group, name)}{close_matches(name, list(known))}")
    required = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    for name in required:
        if name not in given:
            raise XlingValueError(f"expected the setting {_dotted(group, name)}, found none; set it")
    hints = hints_of(cast(Hashable, kind))
    return kind(**{name: typed(value, hints[name], _dotted(group, name)) for name, value in given.items()})


@functools.cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Give the types of a part's settings; looking them up takes longer than checking values against them."""
    return get_type_hints(kind)


def typed(value: Any, kind: Any, name: str) -> Any:
    """Check one value against its type, and turn plain containers into those of the dataclass.

    Raises:
        XlingValueError: the value is of another type, or out of its range.
    """
    if kind is ObjectSettings and isinstance(value, Mapping):
        if not isinstance(value.get("_target_"), str):
            raise XlingValueError(f"expected {name} to name its class by _target_, found none; see conf/data")
        return ObjectSettings.from_plain(value)
    if name == "source_language":
        return language_name(value, name)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind == tuple[str, ...]:
        return _names(value, name)
    if _fits(value, kind):
        check_bounds(name, value)
        if name == "study":
            check_relative_folder(name, value)
        if name == "optimizer.schedule":
            check_choice(name, value, ("linear", "constant"))
        return value
    raise XlingValueError(f"expected {name} to be {_phrase(kind)}, got {value!r}")


def _names(value: Any, name: str) -> tuple[str, ...]:
    if value is None and name.rpartition(".")[2] in EMPTY_MEANS_NULL:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise XlingValueError(f"expected {name} to be a list, e.g. [{value}], got {value!r}")
    if name.rpartition(".")[2] not in EMPTY_MEANS_NULL:
        return tuple(value)
    if not value:
        raise XlingValueError(f"expected {name} to be a list of languages or null, which means all there are, got []")
    return tuple(language_name(language, name) for language in value)


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if kind in (int, float):  # True is a number to Python, and a slip here
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _phrase(kind: Any) -> str:
    """Say what a value of a type is.

    >>> _phrase(int | None)
    'a whole number or null'
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_phrase, get_args(kind)))
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        Path: "a path",
    }
    return words.get(kind, "a list" if get_origin(kind) is Sequence else "a group of settings")


def _dotted(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name
