"""The command ``xling-restore``, which measures what undoing, swapping or averaging trained weights does, without training.

If layer i's change is what hurts distant languages, undoing it should help them more than near ones. Layers are put back to the
base as a whole or by a share (interpolation between fine-tuned and base weights), taken from another run of the same base
(Bandarkar et al. 2025, arXiv:2410.01335), or whole models are averaged. Each result is measured on all targets and recorded as
a run of its own, which the analysis compares with the trained ones (docs/interventions.md). The head stays unless it is named:
reverting many layers also takes away what the head relies on, so that the change on the source language is the yardstick.

``xling-restore RUN --layers 1-4 --layers 6:0.5``
``xling-restore RUN --layers 1-4 --random 19``
``xling-restore RUN --swap-with OTHER --layers 0-6``
``xling-restore RUN --average OTHER THIRD``
"""

import argparse
import logging
import sys
from pathlib import Path

from xling.commands.console import run_and_tell
from xling.commands.parser import command_parser
from xling.distances import SOURCES
from xling.machine.logs import configure_logging

log = logging.getLogger("xling.restore")

RESTORED_FILE = "restored.csv"
TREND_FILE = "restored_trend.csv"


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; None = those of this process.

    Returns:
        Exit status: 0, or 1 after an error, which stands on stderr in one sentence.
    """
    options = _parser().parse_args(arguments)
    configure_logging()
    return run_and_tell(lambda: _act(options), log.warning)


def _act(options: argparse.Namespace) -> None:
    from xling.commands.restoring import carry_out  # torch and transformers, slow to import

    carry_out(options)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-restore",
        "Put base-model layers back into a fine-tuned model, or another run's layers, or average runs; measure all targets again "
        "and record each result as a run of the same study. Of reverted layers it also writes "
        f"{RESTORED_FILE} and {TREND_FILE} into the run's directory.",
        examples=[
            "runs/mine/en/none/seed_1",
            "runs/mine/en/none/seed_1 --layers 1-4 --layers 6:0.5",
            "runs/mine/en/none/seed_1 --layers 1-4 --random 19",
            "runs/mine/en/none/seed_1 --swap-with runs/mine/de/none/seed_1 --layers 0-6",
            "runs/mine/en/none/seed_1 --average runs/mine/en/none/seed_2",
        ],
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run that kept its checkpoint")
    _add_sets(parser)
    parser.add_argument(
        "--swap-with", type=Path, metavar="RUN", help="take the layers from this run, not from the base"
    )
    parser.add_argument(
        "--average", type=Path, nargs="+", metavar="RUN", help="average with these runs, or checkpoint files of the run"
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="folder for the records, STUDY/SOURCE/STRATEGY/seed_N in it; default: beside the run",
    )
    parser.add_argument("--distances", default="repaired", choices=SOURCES, help="distance source; default repaired")
    return parser


def _add_sets(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which layers are changed together, and by how much."""
    parser.add_argument(
        "--layers",
        action="append",
        metavar="1-4,6:0.5",
        help="layers to change together, 0 = embeddings, each with its share after a colon (default 1); 'head' is the task's head; "
        "may be repeated; default: every layer by itself",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="W",
        help="share of the base's, or the other run's, weights, 0..1, by which every share is multiplied; default 1",
    )
    parser.add_argument(
        "--random",
        type=int,
        metavar="N",
        help="also revert N sets of as many layers, drawn at random and the same for every run, among which the analysis judges "
        "the set of --layers; 19 are needed for a p-value of .05",
    )
    parser.add_argument(
        "--size", type=int, metavar="K", help="layers in a random set; default: as many as the set of --layers has"
    )


if __name__ == "__main__":
    sys.exit(main())
