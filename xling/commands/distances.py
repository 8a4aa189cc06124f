"""Print a distance matrix as CSV: ``python -m xling.distances KIND LANG LANG ... [--source SOURCE] [--coverage]``."""

import argparse
import sys
import warnings

from xling.distances import KINDS, SOURCES, DistanceWarning, compute_distances
from xling.errors import XlingError


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; None = those of this process.

    Returns:
        Exit status: 0, or 1 after an error, which stands on stderr in one sentence.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DistanceWarning)
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            distances = compute_distances(options.kind, options.languages, options.source)
        except XlingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    frames = distances.coverage if options.coverage else distances.values
    print(frames[options.kind].to_csv(na_rep="NaN"), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xling-distances",
        description="Print the distances between languages as a CSV matrix; a missing distance is NaN.",
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
