"""The command ``xling-distances``, which prints a distance matrix as CSV.

Usage: ``xling-distances KIND LANG LANG ... [--source SOURCE] [--coverage]``.
"""

import argparse
import sys

from xling.commands.console import run_and_tell
from xling.commands.parser import command_parser
from xling.distances import KINDS, SOURCES, compute_distances


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; None = those of this process.

    Returns:
        Exit status: 0, or 1 after an error, which stands on stderr in one sentence.
    """
    options = _parser().parse_args(arguments)
    return run_and_tell(lambda: _print_matrix(options))


def _print_matrix(options: argparse.Namespace) -> None:
    distances = compute_distances(options.kind, options.languages, options.source)
    frames = distances.coverage if options.coverage else distances.values
    print(frames[options.kind].to_csv(na_rep="NaN"), end="")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-distances",
        "Print the distances between languages as a CSV matrix; a missing distance is NaN.",
        examples=["genetic en de sw", "syntactic en de sw --coverage", "featural en de sw > featural.csv"],
        epilog="Distances derive from URIEL and lang2vec (Littell et al. 2017), CC BY-SA 4.0.",
    )
    parser.add_argument("kind", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument(
        "languages", metavar="LANG", nargs="+", help="ISO 639-1 or ISO 639-3 code of a language in URIEL"
    )
    parser.add_argument(
        "--source",
        default="repaired",
        metavar="SOURCE",
        help=f"{', '.join(SOURCES)}; repaired is the default, individual avoids macrolanguages, paper has placeholders",
    )
    parser.add_argument(
        "--coverage", action="store_true", help="print how many features were observed for both languages"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
