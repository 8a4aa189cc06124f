"""What undoing, swapping or averaging trained weights does, without training.

If layer i's change is what hurts distant languages, undoing it should help them more than near ones. Layers are put back to the
base as a whole or by a share (interpolation between fine-tuned and base weights), taken from another run of the same base
(Bandarkar et al. 2025, arXiv:2410.01335), or whole models are averaged. Each result is measured on all targets and recorded as
a run of its own, which the analysis compares with the trained ones (docs/interventions.md). The head stays unless it is named:
reverting many layers also takes away what the head relies on, so that the change on the source language is the yardstick.

``xling-restore RUN --layers 1-4 --layers 6:0.5``
``xling-restore RUN --swap-with OTHER --layers 0-6``
``xling-restore RUN --average OTHER THIRD``
"""

import argparse
import itertools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from xling.analysis.questions.restoration import compute_trend
from xling.commands.console import run_and_tell
from xling.commands.parser import command_parser
from xling.distances import KINDS, SOURCES, distance_table
from xling.errors import XlingValueError
from xling.interventions.layer_shares import Shares, check_share, layers_in, parse_shares, scaled
from xling.machine.logs import configure_logging
from xling.machine.plain_text import without_formulas
from xling.models.layers import find_layers
from xling.storage.atomic import write_text
from xling.training.finished import FinishedRun, load_run
from xling.training.restoring import Restoration, average_runs, base_state, name_run, restore_run, swap_run

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
    if options.swap_with is not None and options.average:
        raise XlingValueError("expected --swap-with or --average, got both; run the command twice")
    given = [parse_shares(text) for text in options.layers or ()]
    run = load_run(options.run)
    n_layers = find_layers(run.module, run.settings.model.layers).n_layers
    for shares in given:  # before the first evaluation, which takes a while
        layers_in(shares, n_layers)
    for weight in options.weights:
        check_share(weight)
    output_dir = options.output_dir or _output_dir_of(run)
    if options.average:
        average_runs(run, base_state(run), options.average, output_dir)
    elif options.swap_with is not None:
        if not given:
            raise XlingValueError("expected --layers with --swap-with: which layers come from the other run")
        sets = [scaled(shares, weight) for shares, weight in itertools.product(given, options.weights)]
        swap_run(run, base_state(run), load_run(options.swap_with), sets, output_dir)
    else:
        sets = given or [{layer: 1.0} for layer in range(n_layers + 1)]
        _revert(run, sets, options, output_dir)


def _output_dir_of(run: FinishedRun) -> Path:
    """The folder in which the run's study lies: records then stand beside the run.

    Raises:
        XlingValueError: the run lies elsewhere than where training put it.
    """
    folder = run.path.resolve()
    if "/".join(folder.parts[-4:]) != name_run(run):
        raise XlingValueError(
            f"expected the run in a folder {name_run(run)}, so that records can stand beside it, found {folder}; "
            "set --output-dir"
        )
    return folder.parents[3]


def _revert(run: FinishedRun, sets: Sequence[Shares], options: argparse.Namespace, output_dir: Path) -> None:
    restorations = [Restoration(shares, weight) for shares, weight in itertools.product(sets, options.weights)]
    table = restore_run(run, restorations, output_dir)
    languages = list(dict.fromkeys([run.settings.source_language, *run.settings.target_languages]))
    distances = distance_table(languages, source=options.distances)[["source_language", "target_language", *KINDS]]
    table = table.merge(distances, on=["source_language", "target_language"], how="left")
    trend = compute_trend(table, KINDS)
    folder = run.path if options.output_dir is None else _beside(run, output_dir)
    for name, frame in ((RESTORED_FILE, table), (TREND_FILE, trend)):
        write_text(folder / name, without_formulas(frame).to_csv(index=False))
        log.info("wrote %s", folder / name)


def _beside(run: FinishedRun, output_dir: Path) -> Path:
    """The run's place below another folder, where the run itself is only read."""
    folder = output_dir / name_run(run)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-restore",
        "Put base-model layers back into a fine-tuned model, or another run's layers, or average runs; measure all targets again "
        "and record each result as a run of the same study. Of reverted layers it also writes "
        f"{RESTORED_FILE} and {TREND_FILE} into the run's directory.",
        examples=[
            "runs/mine/en/none/seed_1",
            "runs/mine/en/none/seed_1 --layers 1-4 --layers 6:0.5",
            "runs/mine/en/none/seed_1 --swap-with runs/mine/de/none/seed_1 --layers 0-6",
            "runs/mine/en/none/seed_1 --average runs/mine/en/none/seed_2",
        ],
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run that kept its checkpoint")
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


if __name__ == "__main__":
    sys.exit(main())
