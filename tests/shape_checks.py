"""Checks in tests that tensors have the shapes and types in signatures such as ``x: Annotated[Tensor, "[n, d] float64"]``.

A name stands for one length within a call, ``...`` for any number of dimensions (the same ones within a call), ``_`` for any
length. The type is optional: a dtype, ``float`` or ``int`` for any of that kind. Importing this module puts the check around the
functions and dataclasses of the packages that are imported after it; outside tests nobody reads the annotations, and they cost
nothing.
"""

import ast
import dataclasses
import functools
import importlib.machinery
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import torch

CHECKED = ("xling.similarity", "xling.metrics", "xling.probing")
_SPEC = re.compile(r"\[(?P<dims>[^\]]*)\](?: (?P<dtype>\w+))?")


class ShapeError(AssertionError):
    """A tensor does not have the shape in a signature. It is no ValueError, which a test might expect for another reason."""


def check_tensor(where: str, tensor: torch.Tensor, spec: str, lengths: dict[str, Any]) -> None:
    """Refuse a tensor that does not fit `spec`; names that are met for the first time are added to `lengths`.

    >>> lengths = {}
    >>> check_tensor("x", torch.zeros(2, 5, 3), "[..., n, d] float", lengths)
    >>> lengths
    {'d': 3, 'n': 5, '...': (2,)}
    """
    stated = _SPEC.fullmatch(spec)
    assert stated is not None, f"{where}: cannot read {spec!r}"
    dims = [dim.strip() for dim in stated["dims"].split(",") if dim.strip()]
    shape = tuple(tensor.shape)
    fits = _fits(dims, shape, lengths) and _has_type(tensor.dtype, stated["dtype"])
    if not fits:
        raise ShapeError(f"{where}: expected {spec}, got {list(shape)} {tensor.dtype}, where {lengths}")


def _fits(dims: list[str], shape: tuple[int, ...], lengths: dict[str, Any]) -> bool:
    n_last = len(dims) - dims.index("...") - 1 if "..." in dims else 0
    if len(shape) < len(dims) - ("..." in dims) or ("..." not in dims and len(shape) != len(dims)):
        return False
    pairs = list(zip(reversed(dims), reversed(shape), strict=False))
    if "..." in dims:
        n_first = dims.index("...")
        pairs = pairs[:n_last] + list(zip(dims[:n_first], shape[:n_first], strict=True))
        pairs.append(("...", shape[n_first : len(shape) - n_last]))
    return all(_is_length(dim, length, lengths) for dim, length in pairs)


def _is_length(dim: str, length: Any, lengths: dict[str, Any]) -> bool:
    if dim == "_":
        return True
    if dim.isdigit():
        return int(dim) == length
    return lengths.setdefault(dim, length) == length


def _has_type(dtype: torch.dtype, stated: str | None) -> bool:
    if stated is None:
        return True
    if stated in ("float", "int"):
        return dtype.is_floating_point == (stated == "float") and dtype != torch.bool
    return dtype == getattr(torch, stated)


def check_value(where: str, value: Any, hint: Any, lengths: dict[str, Any]) -> None:
    """Check values that may hold tensors as :func:`check_tensor` does: optional values, lists, tuples."""
    if typing.get_origin(hint) is typing.Annotated:
        spec = next((extra for extra in hint.__metadata__ if isinstance(extra, str)), None)
        if spec is not None and isinstance(value, torch.Tensor):
            check_tensor(where, value, spec, lengths)
        return
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            check_value(where, value, part, lengths)
    elif origin is tuple and isinstance(value, tuple) and Ellipsis not in parts:
        for part, own in zip(parts, value, strict=True):
            check_value(where, own, part, lengths)
    elif origin in (list, Sequence) and isinstance(value, list | tuple):
        for own in value:
            check_value(where, own, parts[0], lengths)


def checked(function: Callable) -> Callable:
    """Put the check of arguments and result around a function."""
    signature, where = inspect.signature(function), f"{function.__module__}.{function.__qualname__}"
    stated = stated_by(function)

    def check_call(result: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        lengths: dict[str, Any] = {}
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            for own in value if several else [value]:
                check_value(f"{where}({name})", own, stated().get(name), lengths)
        check_value(f"result of {where}", result, stated().get("return"), lengths)
        return result

    def wrapper(*args: Any, **kwargs: Any) -> Any:  # checks afterwards: what a call refuses is for the call to say
        result = function(*args, **kwargs)
        return check_call(result, args, kwargs) if stated() else result

    # of the function's own module, or doctest takes it for something imported there
    own = types.FunctionType(wrapper.__code__, function.__globals__, function.__name__, closure=wrapper.__closure__)
    return functools.update_wrapper(own, function)


def checked_fields(cls: type) -> type:
    """Check the fields of a dataclass whenever one is made."""
    if not dataclasses.is_dataclass(cls):
        return cls
    made, stated = cls.__init__, stated_by(cls)

    @functools.wraps(made)
    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        lengths: dict[str, Any] = {}
        for name, hint in stated().items():
            check_value(f"{cls.__qualname__}.{name}", getattr(self, name), hint, lengths)

    cls.__init__ = initialise  # type: ignore[misc]
    return cls


def stated_by(thing: Any) -> Callable[[], dict[str, Any]]:
    """Gives the annotations that state shapes; asked for once the module is complete, so that all names are known."""

    @functools.cache
    def stated() -> dict[str, Any]:
        hints = typing.get_type_hints(thing, include_extras=True)
        return {name: hint for name, hint in hints.items() if _is_shape(hint)}

    return stated


def _is_shape(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated or any(_is_shape(part) for part in typing.get_args(hint))


class _Decorate(ast.NodeTransformer):
    """Decorate the functions and classes of a module, but for functions within functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list.append(
            _name("_check_shapes_of_function", node)
        )  # innermost: a classmethod is made of what is checked
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.decorator_list.insert(0, _name("_check_shapes_of_fields", node))
        return typing.cast(ast.ClassDef, self.generic_visit(node))


def _name(name: str, place: ast.stmt) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), place)


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(
        self, fullname: str
    ) -> types.CodeType:  # past the cache of byte code, which is of the code as it stands
        path = self.get_filename(fullname)
        tree = _Decorate().visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__.update(_check_shapes_of_function=checked, _check_shapes_of_fields=checked_fields)
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(CHECKED):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


if _Finder not in sys.meta_path:
    assert not any(name.startswith(CHECKED) for name in sys.modules), "import this before anything of xling"
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
