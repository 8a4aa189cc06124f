"""Training-free causal check: put base-model layers back into a fine-tuned model and measure transfer again.

If layer i's change is what hurts distant languages, undoing it should help them more than near ones. Layers are put
back as a whole or by a fraction: interpolation between fine-tuned and base weights. (Bandarkar 2025, arXiv:2410.01335,
swaps layers between two fine-tuned models; here one of the two is the base.) The head stays fine-tuned, so restoring
many layers also takes away what the head relies on: the change on the source language, in the same table, is the
yardstick.

``xling-restore RUN --layers 1,2 --layers 6 --weights 0.5 1``
"""

import argparse
import itertools
import logging
import sys
from pathlib import Path

from xling.analysis.questions.restoration import compute_trend
from xling.commands.console import run_and_tell
from xling.commands.parser import command_parser
from xling.distances import KINDS, SOURCES, distance_table
from xling.machine.logs import configure_logging
from xling.machine.plain_text import without_formulas
from xling.models.layers import check_layer, find_layers
from xling.storage.atomic import write_text
from xling.training.finished import load_run
from xling.training.restoring import check_weight, restore_run

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
    arguments_of_restoring = (options.run, options.layers, options.weights, options.distances)
    return run_and_tell(lambda: _restore_and_write(*arguments_of_restoring), log.warning)


def _restore_and_write(path: Path, layer_sets: list[list[int]] | None, weights: list[float], source: str) -> None:
    run = load_run(path)
    n_layers = find_layers(run.module, run.settings.model.layers).n_layers
    layer_sets = layer_sets or [[layer] for layer in range(n_layers + 1)]
    restorations = list(itertools.product(layer_sets, weights))
    for layers, weight in restorations:  # before the first evaluation, which takes a while
        check_weight(weight)
        for layer in layers:
            check_layer(layer, n_layers)
    table = restore_run(run, restorations, path)
    languages = list(dict.fromkeys([run.settings.source_language, *run.settings.target_languages]))
    distances = distance_table(languages, source=source)[["source_language", "target_language", *KINDS]]
    table = table.merge(distances, on=["source_language", "target_language"], how="left")
    trend = compute_trend(table, KINDS)
    for name, frame in ((RESTORED_FILE, table), (TREND_FILE, trend)):
        write_text(path / name, without_formulas(frame).to_csv(index=False))
        log.info("wrote %s", path / name)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-restore",
        "Put base-model layers back into a fine-tuned model and measure transfer on all its targets again; "
        f"writes {RESTORED_FILE} and {TREND_FILE} into the run's directory.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run that kept its checkpoint")
    parser.add_argument(
        "--layers",
        type=lambda text: sorted({int(layer) for layer in text.split(",")}),
        action="append",
        metavar="1,2,6",
        help="layers to restore together, 0 = embeddings; may be repeated; default: every layer by itself",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="W",
        help="share of the base weights, 0..1; default 1",
    )
    parser.add_argument("--distances", default="repaired", choices=SOURCES, help="distance source; default repaired")
    return parser


if __name__ == "__main__":
    sys.exit(main())
