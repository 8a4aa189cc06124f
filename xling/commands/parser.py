"""The parser of the short commands: every one of them tells its version."""

import argparse
import sys
from typing import Any

import xling


def command_parser(name: str, description: str | None, **options: Any) -> argparse.ArgumentParser:
    """Make a parser with ``--version``.

    Args:
        name: of the command.
        description: what its help begins with.
        options: further arguments of :class:`argparse.ArgumentParser`.
    """
    parser = argparse.ArgumentParser(prog=name, description=description, **options)
    parser.add_argument("--version", action="version", version=f"{name} {xling.__version__}")
    return parser


def told_version(name: str) -> bool:
    """Answer ``--version`` of a command that Hydra parses, which would answer with its own; False where it was not asked."""
    if sys.argv[1:] != ["--version"]:
        return False
    print(f"{name} {xling.__version__}")
    return True
