"""Tensors have the shapes that signatures state: every test of the packages concerned checks it, these test the check."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
from typing import Annotated

import pytest
import torch
from shape_checks import CHECKED, ShapeError, check_tensor, checked, stated_by
from torch import Tensor

from xling.similarity import Moments, linear_cka
from xling.similarity.marginal import Marginal, shifted
from xling.similarity.recentre import dot


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((4, 3), "[n]"),
        ((4,), "[n, d]"),
        ((4, 3), "[n, n]"),
        ((4, 3), "[n, 2]"),
        ((4, 3), "[n, d] int"),
        ((4, 3), "[n, d] float64"),
        ((3,), "[..., n, d]"),
    ],
)
def test_what_does_not_fit_is_refused(shape, spec):
    with pytest.raises(ShapeError, match=r"x: expected .* got"):
        check_tensor("x", torch.zeros(shape), spec, {})


def test_leading_dimensions_and_names_are_the_same_within_a_call():
    lengths = {}
    check_tensor("x", torch.zeros(2, 3, 5, 4), "[..., n, d] float", lengths)
    check_tensor("y", torch.zeros(2, 3, 5, 7), "[..., n, _]", lengths)
    for other in ((2, 4, 5, 7), (3, 5, 7), (2, 3, 6, 7)):
        with pytest.raises(ShapeError):
            check_tensor("y", torch.zeros(other), "[..., n, _]", lengths)


def test_arguments_results_and_parts_of_them_are_checked():
    @checked
    def wrong(
        x: Annotated[Tensor, "[n, d]"],
        layers: list[Annotated[Tensor, "[n, _]"]],
        ids: Annotated[Tensor, "[n] int"] | None,
    ) -> tuple[Annotated[Tensor, "[n]"], int]:
        return x.sum(0), 1

    square, rows = torch.zeros(3, 3), torch.zeros(2, 3)
    assert wrong(square, [torch.zeros(3, 9)], None)[1] == 1
    with pytest.raises(ShapeError, match="result of"):
        wrong(rows, [], None)
    with pytest.raises(ShapeError, match=r"\(layers\)"):
        wrong(square, [rows], None)
    with pytest.raises(ShapeError, match=r"\(ids\)"):
        wrong(square, [], torch.zeros(3))


def test_the_library_is_checked_here_although_broadcasting_would_hide_the_mistake():
    with pytest.raises(ShapeError, match=r"shifted\(shift\): expected \[L, d\]"):
        shifted(torch.zeros(2, 5, 3), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"dot\(b\)"):
        dot(torch.zeros(4, 3), torch.zeros(3))
    with pytest.raises(ShapeError, match=r"Marginal\.sq"):
        Marginal(torch.tensor(5), torch.zeros(2, 3), torch.zeros(2, 3).double(), torch.zeros(3).double())


def test_what_a_function_refuses_itself_is_still_its_own_error():
    with pytest.raises(ValueError, match="must hold the same layers and examples"):
        linear_cka(torch.zeros(3, 5, 2), torch.zeros(2, 5, 2), debiased=True)


def stating(package):
    """Functions and methods of a package whose signatures state shapes; all annotations are resolved on the way."""
    for name in [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")]:
        for thing in vars(importlib.import_module(name)).values():
            for part in [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]:
                function = inspect.unwrap(getattr(part, "fget", None) or getattr(part, "__func__", part))
                if isinstance(function, types.FunctionType) and function.__module__ == name and stated_by(function)():
                    yield f"{name}.{function.__qualname__}"


@pytest.mark.parametrize(("package", "n"), [("similarity", 90), ("metrics", 6), ("probing", 25)])
def test_signatures_of_the_package_state_shapes(package, n):
    assert len(set(stating(f"xling.{package}"))) >= n
    assert linear_cka.__wrapped__.__module__.startswith(CHECKED)
    assert Moments.update.__wrapped__.__qualname__ == "Moments.update"


def test_outside_tests_nothing_is_checked_and_nothing_more_is_imported():
    code = (
        "import sys, torch; from xling.similarity.marginal import shifted; "
        "print(shifted(torch.zeros(2, 5, 3), torch.zeros(1, 3)).shape[0], 'shape_checks' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
