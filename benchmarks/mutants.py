"""Tests whether the tests would notice a slip in the mathematics: makes single-operator mutants of it, and runs the tests on each.

    python -m benchmarks.mutants --n 42 --seed 0

Each mutant changes one operator or one small constant in one module, in a copy of the checkout, and runs the tests of that module.
A survivor is a gap in the tests or an equivalent program; LOG.md says which.
"""

import argparse
import ast
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hydra  # noqa: F401  (what tests import is imported once here, not once per mutant)
import hypothesis  # noqa: F401
import pandas as pd  # noqa: F401
import pytest
import pytorch_lightning as pl  # noqa: F401
import scipy.stats  # noqa: F401
import torchmetrics  # noqa: F401

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".venv", ".git", ".mypy_cache", "runs", "results", "site", "__pycache__")
_SUMS = ["test_similarity.py", "test_metrics.py"]
_GROUPS = ["test_similarity_grouped.py", "test_similarity_uncertainty.py"]
TESTS = {
    "xling/distances/formulas.py": ["test_distances.py", "test_distances_formulas.py", "test_distances_urielplus.py"],
    "xling/distances/matrices.py": ["test_distances.py", "test_distances_codes.py", "test_distances_tables.py"],
    "xling/distances/measured.py": ["test_distances_tables.py"],
    "xling/similarity/cka.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/hsic.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/centred.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/rows.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/moments.py": _SUMS,
    "xling/similarity/marginal.py": _SUMS,
    "xling/similarity/recentre.py": _SUMS,
    "xling/similarity/panels.py": _SUMS,
    "xling/similarity/correlation.py": ["test_similarity_measures.py"],
    "xling/similarity/pairwise.py": ["test_similarity_measures.py"],
    "xling/similarity/uncertainty.py": ["test_similarity_uncertainty.py"],
    "xling/similarity/deletion.py": ["test_similarity_uncertainty.py"],
    "xling/similarity/null.py": _GROUPS,
    "xling/similarity/grouped.py": _GROUPS,
    "xling/similarity/grouped_jackknife.py": _GROUPS,
    "xling/similarity/grouped_moments.py": ["test_similarity_grouped.py"],
    "xling/similarity/grouping.py": ["test_similarity_grouped.py", "test_metrics.py"],
    "xling/similarity/within.py": ["test_similarity_grouped.py"],
    "xling/similarity/chance.py": ["test_chance.py"],
    "xling/similarity/concentration.py": ["test_concentration.py"],
    "xling/analysis/inference/qap.py": ["test_qap.py"],
    "xling/analysis/inference/permutations.py": ["test_qap.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/null_correlations.py": ["test_qap.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/gaps.py": ["test_qap.py"],
    "xling/analysis/inference/relabelled.py": ["test_qap.py"],
    "xling/analysis/inference/complete_design.py": ["test_qap.py"],
    "xling/analysis/inference/demeaned.py": ["test_qap.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/correlations.py": ["test_qap.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/intervals.py": ["test_analysis_statistics.py"],
    "xling/analysis/inference/influence.py": ["test_analysis_statistics.py"],
    "xling/analysis/inference/inversion.py": ["test_analysis_statistics.py"],
    "xling/analysis/inference/crossed_effects.py": ["test_crossed_effects.py"],
    "xling/analysis/inference/dyadic.py": ["test_joint.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/joint.py": ["test_joint.py"],
    "xling/analysis/inference/two_way.py": ["test_cause.py", "test_freezing_comparison.py"],
}
"""Module -> test files that should notice a mutant of it."""

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One changed place: which module, which line, what it was and what it is."""

    module: str
    line: int
    before: str
    after: str
    source: str


def mutants_of(module: str) -> Iterator[Mutant]:
    """Give every mutant of a module."""
    text = (ROOT / module).read_text(encoding="utf-8")
    for index, node in enumerate(ast.walk(ast.parse(text))):
        for change in _changes(node):
            tree = ast.parse(text)
            changed = list(ast.walk(tree))[index]
            before = ast.unparse(node)
            change(changed)
            yield Mutant(module, getattr(node, "lineno", 0), before, ast.unparse(changed), ast.unparse(tree))


def _changes(node: ast.AST) -> list:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        return [lambda n: setattr(n, "op", SWAPS[type(n.op)]())]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return [lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [lambda n: setattr(n, "op", ast.UAdd())]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and not isinstance(node.value, bool):
        return [lambda n: setattr(n, "value", n.value + 1)]
    return []


def is_killed(mutant: Mutant, checkout: Path, seconds: int) -> bool:
    """Run the module's tests over the mutant; a test that fails, or one that never ends, kills it."""
    path = checkout / mutant.module
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    tests = [str(checkout / "tests" / name) for name in TESTS[mutant.module]]
    # a fork has the slow imports done; the mutated package is imported in the fork alone
    run = multiprocessing.get_context("fork").Process(target=_run_tests, args=(checkout, tests))
    try:
        run.start()
        run.join(seconds)
        return run.exitcode != 0
    finally:
        if run.is_alive():
            run.kill()
            run.join()
        path.write_text(original, encoding="utf-8")


def _run_tests(checkout: Path, tests: list[str]) -> None:
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    sys.dont_write_bytecode = (
        True  # a mutant may be as long and as old as its module, which is all that a .pyc is checked by
    )
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests])
    loaded = Path(sys.modules["xling"].__file__ or "")
    os._exit(99 if not loaded.is_relative_to(checkout) else int(status))


def main() -> None:
    """Draw mutants, run them, print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=42)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=120, help="after which a run of the tests counts as hanging")
    parser.add_argument("--trust", action="store_true", help="do not run the tests without a mutant first")
    parser.add_argument("--module", action="append", help="only this module; may be repeated")
    parser.add_argument("--at", metavar="MODULE:LINE", help="only the mutants of this line, all of them")
    options = parser.parse_args()
    modules = [options.at.partition(":")[0]] if options.at else options.module or TESTS
    every = [mutant for module in modules for mutant in mutants_of(module)]
    if options.at:
        every = [mutant for mutant in every if options.at == f"{mutant.module}:{mutant.line}"]
    drawn = random.Random(options.seed).sample(every, min(options.n, len(every)))
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        tested = {} if options.trust else {tuple(TESTS[mutant.module]): mutant.module for mutant in drawn}
        for module in tested.values():
            unchanged = Mutant(module, 0, "", "", (ROOT / module).read_text(encoding="utf-8"))
            if is_killed(unchanged, checkout, options.seconds):
                raise SystemExit(f"the tests of {module} fail or take over {options.seconds} s without any mutant")
        for mutant in drawn:
            dead = is_killed(mutant, checkout, options.seconds)
            killed += dead
            print(
                f"{'killed  ' if dead else 'SURVIVED'} {mutant.module}:{mutant.line}  {mutant.before}  ->  {mutant.after}",
                flush=True,
            )
    print(f"{killed} of {len(drawn)} mutants killed, drawn from {len(every)}")


if __name__ == "__main__":
    main()
