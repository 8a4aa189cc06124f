"""The command ``xling-design``, which says what a planned study could find.

Usage: ``xling-design --sources LANG,LANG --targets LANG,LANG [--seeds N --examples N ...]``.
"""

import argparse
import sys

from xling.analysis.questions.design import DESIGN, Noise, assess_design
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
    return run_and_tell(lambda: _print_design(options))


def _print_design(options: argparse.Namespace) -> None:
    languages = sorted({*options.sources, *options.targets})
    distances = compute_distances(options.kinds, languages, options.distances)
    table = assess_design(options.sources, options.targets, distances.values, _noise(options), options.seed)
    print(table.dropna(axis="columns", how="all").to_csv(index=False, float_format="%.3f"), end="")


def _noise(options: argparse.Namespace) -> Noise | None:
    if options.pair_sd is None:
        return None
    return Noise(options.pair_sd, options.seed_sd, options.seeds, options.example_sd, options.examples)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-design",
        "Print the smallest correlations with distance that a planned study finds with a probability of 80 %.",
        examples=[
            "--sources en,ru,sw --targets ar,de,en,fr,ru,sw",
            "--sources en,de,sw --targets ar,de,en,sw,zh --pair-sd .008 --seed-sd .006 --seeds 3 --examples 5010",
        ],
        epilog="Columns: " + "; ".join(f"{name}: {meaning}" for name, meaning in DESIGN.items()),
    )
    add = parser.add_argument
    add("--sources", type=_words, required=True, metavar="LANG,LANG", help="languages to fine-tune on")
    add("--targets", type=_words, required=True, metavar="LANG,LANG", help="languages to evaluate")
    add("--kinds", type=_words, default=list(KINDS), metavar="KIND,KIND", help=f"distances among {', '.join(KINDS)}")
    add("--distances", default="individual", choices=SOURCES, help="where distances come from")
    add(
        "--pair-sd",
        type=_positive,
        help="sd of true values over pairs beyond source and target; needed for what noise does",
    )
    add("--seed-sd", type=_not_negative, default=0.0, help="sd between seeds of one cell")
    add("--seeds", type=_count, default=1, help="seeds per source")
    add(
        "--example-sd",
        type=_not_negative,
        default=0.5,
        help="sd of one example's part: .5 for an accuracy near one half",
    )
    add("--examples", type=_count, default=2_490, help="examples per target; for impact the size of the probe set")
    add("--seed", type=int, default=0, help="of permutations and simulated studies")
    return parser


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a count of at least 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
