"""Makes the parsers of the short commands, each with ``--version`` and examples in its help."""

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import xling


class _ExamplesAsTheyAre(argparse.HelpFormatter):
    """Fills paragraphs, and leaves lines that begin with spaces as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = ["\n".join(lines) for _, lines in groupby(text.split("\n"), lambda line: line.startswith("  "))]
        fill = super()._fill_text
        return "\n".join(block if block.startswith("  ") else fill(block, width, indent) for block in blocks)


def command_parser(
    name: str, description: str, *, examples: Sequence[str], epilog: str = "", **options: Any
) -> argparse.ArgumentParser:
    """Make a parser with ``--version`` and with examples in its help.

    Args:
        name: name of the command.
        description: first text of its help.
        examples: command lines, without the name.
        epilog: last text of its help.
        options: further arguments of :class:`argparse.ArgumentParser`.
    """
    lines = [f"example{'s' if len(examples) > 1 else ''}:", *(f"  {name} {example}" for example in examples), epilog]
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog="\n".join(lines).strip(),
        formatter_class=_ExamplesAsTheyAre,
        **options,
    )
    parser.add_argument("--version", action="version", version=f"{name} {xling.__version__}")
    return parser


def told_version(name: str) -> bool:
    """Answer ``--version`` of a command that Hydra parses, since Hydra would answer with its own; False where it was not asked."""
    if sys.argv[1:] != ["--version"]:
        return False
    print(f"{name} {xling.__version__}")
    return True
