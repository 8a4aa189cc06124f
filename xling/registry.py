"""Registries: tables of the things that a configuration can name, one per kind, which other packages can extend.

An entry is asked for by its name, as ``package.module:name``, or given as the object itself. An installed package adds names by
entry points of the table's group, e.g. in its pyproject.toml::

    [project.entry-points."xling.measures"]
    my_measure = "my_package.measures:my_measure"
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from xling.errors import XlingValueError, unknown

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The entries of one kind, this package's own and those of others.

    Args:
        kind: words for the kind in messages, e.g. ``similarity measure``.
        group: entry-point group in which other packages register theirs; None: other packages cannot.
        own: this package's entries by name.
        is_entry: function that says whether an object is an entry; by default everything that can be called is one.
        expected: words for what `is_entry` asks for.
    """

    def __init__(
        self,
        kind: str,
        group: str | None,
        own: Mapping[str, T],
        is_entry: Callable[[Any], bool] = callable,
        expected: str = "something that can be called",
    ) -> None:
        self.kind, self.group, self.own = kind, group, dict(own)
        self.is_entry, self.expected = is_entry, expected

    def find(self, entry: str | T) -> T:
        """Find an entry by its name or as ``package.module:name``, or return the object itself.

        Raises:
            XlingValueError: there is no entry of that name, it cannot be imported, or the object is no entry of this kind.
        """
        if not isinstance(entry, str):
            return self._checked(entry, repr(entry))
        if entry in self.own:
            return self.own[entry]
        if ":" in entry:
            return self._checked(self._import(entry), entry)
        for point in self._entry_points():
            if point.name == entry:
                return self._checked(self._import(point.value), f"{entry} ({point.value})")
        raise unknown(self.kind, entry, self, ", or name one of your own as package.module:name")

    def __getitem__(self, name: str) -> T:
        return self.find(name)

    def __contains__(self, name: object) -> bool:
        return name in self.own or any(point.name == name for point in self._entry_points())

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (point.name for point in self._entry_points() if point.name not in self.own)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _entry_points(self) -> list[EntryPoint]:
        return sorted(entry_points(group=self.group), key=lambda point: point.name) if self.group else []

    def _import(self, path: str) -> Any:
        module, _, name = path.partition(":")
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise XlingValueError(
                f"expected a {self.kind} at {path}, and it cannot be imported ({error}); give package.module:name of an "
                "installed package"
            ) from error
        return found

    def _checked(self, found: Any, name: str) -> T:
        if not self.is_entry(found):
            raise XlingValueError(f"expected the {self.kind} {name} to be {self.expected}, got {type(found).__name__}")
        return found
