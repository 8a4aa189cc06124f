"""Would the tests notice a slip in the mathematics? Single-operator mutants of it, and which tests kill them.

    python -m benchmarks.mutants --n 42 --seed 0

Each mutant changes one operator or one small constant in one module, in a copy of the checkout, and runs the tests of that module.
A survivor is a gap in the tests or an equivalent program; LOG.md says which.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = {
    "xling/distances/formulas.py": ["test_distances.py"],
    "xling/similarity/cka.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/hsic.py": ["test_similarity.py", "test_similarity_measures.py"],
    "xling/similarity/correlation.py": ["test_similarity_measures.py"],
    "xling/similarity/pairwise.py": ["test_similarity_measures.py"],
    "xling/similarity/uncertainty.py": ["test_similarity_uncertainty.py"],
    "xling/similarity/grouped.py": ["test_similarity_grouped.py", "test_similarity_uncertainty.py"],
    "xling/analysis/inference/qap.py": ["test_qap.py"],
    "xling/analysis/inference/demeaned.py": ["test_qap.py", "test_analysis_statistics.py"],
    "xling/analysis/inference/correlations.py": ["test_qap.py", "test_analysis_statistics.py"],
}
"""Module -> test files that should notice."""

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
    tests = [str(checkout / "tests" / name) for name in TESTS[mutant.module] if (checkout / "tests" / name).is_file()]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, timeout=seconds, env=environment)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(original, encoding="utf-8")


def main() -> None:
    """Draw mutants, run them, print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=42)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=120, help="after which a run of the tests counts as hanging")
    parser.add_argument("--module", action="append", help="only this module; may be repeated")
    options = parser.parse_args()
    every = [mutant for module in options.module or TESTS for mutant in mutants_of(module)]
    drawn = random.Random(options.seed).sample(every, min(options.n, len(every)))
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(
            ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "results")
        )
        for module in {mutant.module for mutant in drawn}:
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
