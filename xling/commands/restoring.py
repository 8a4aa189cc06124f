"""Does the work of ``xling-restore`` once its command line is read."""

import argparse
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xling.analysis.questions.restoration import compute_trend
from xling.commands.restore import RESTORED_FILE, TREND_FILE
from xling.distances import KINDS, distance_table
from xling.errors import XlingValueError
from xling.interventions.layer_shares import Shares, check_share, format_shares, layers_in, parse_shares, scaled
from xling.machine.plain_text import without_formulas
from xling.models.layers import find_layers
from xling.storage.atomic import write_text
from xling.training.finished import FinishedRun, load_run
from xling.training.restoring import (
    Restoration,
    average_runs,
    base_state,
    draw_restorations,
    name_run,
    restore_run,
    revert_run,
    swap_run,
)

log = logging.getLogger("xling.restore")


def carry_out(options: argparse.Namespace) -> None:
    """Revert, swap or average as the command line says, and measure and record each result.

    Raises:
        XlingValueError: more than one of the three was asked for, or layers or shares do not fit the run.
    """
    if options.swap_with is not None and options.average:
        raise XlingValueError("expected --swap-with or --average, got both; run the command twice")
    given = [parse_shares(text) for text in options.layers or ()]
    run = load_run(options.run)
    n_layers = find_layers(run.module, run.settings.model.layers).n_layers
    for shares in given:  # before the first evaluation, which takes a while
        layers_in(shares, n_layers)
    for weight in options.weights:
        check_share(weight)
    drawn = _draw(options, given, n_layers)
    output_dir = options.output_dir or _output_dir_of(run)
    if options.average:
        average_runs(run, base_state(run), options.average, output_dir)
    elif options.swap_with is not None:
        if not given:
            raise XlingValueError("expected --layers with --swap-with: which layers come from the other run")
        sets = [scaled(shares, weight) for shares, weight in itertools.product(given, options.weights)]
        swap_run(run, base_state(run), load_run(options.swap_with), sets, output_dir)
    else:
        sets = given or ([] if drawn else [{layer: 1.0} for layer in range(n_layers + 1)])
        _revert(run, sets, drawn, options, output_dir)


def _draw(options: argparse.Namespace, given: Sequence[Shares], n_layers: int) -> list[Restoration]:
    """Draw the random sets that the command line asks for.

    Raises:
        XlingValueError: they do not go with the other options, or their size is unknown.
    """
    if options.random is None:
        if options.size is not None:
            raise XlingValueError(
                "expected --random N with --size, which says how many layers a random set has; add it"
            )
        return []
    if options.average or options.swap_with is not None or options.weights != [1.0]:
        raise XlingValueError(
            "expected --random with whole layers that are reverted, got --average, --swap-with or --weights too"
        )
    for shares in given:
        if not all(share == 1 and part in range(1, n_layers + 1) for part, share in shares.items()):
            raise XlingValueError(
                f"expected sets of whole layers 1 to {n_layers} with --random, which draws such sets, got {format_shares(shares)}"
            )
    sizes = {len(shares) for shares in given} if options.size is None else {options.size}
    if len(sizes) != 1:
        raise XlingValueError(
            f"expected --size, or --layers whose sets are of one size, with --random, got sets of {sorted(sizes)} layers"
        )
    return draw_restorations(n_layers, sizes.pop(), options.random, given)


def _output_dir_of(run: FinishedRun) -> Path:
    """Find the folder in which the run's study lies, so that records stand beside the run.

    Raises:
        XlingValueError: the run does not lie where training would have put it.
    """
    folder = run.path.resolve()
    if "/".join(folder.parts[-4:]) != name_run(run):
        raise XlingValueError(
            f"expected the run in a folder {name_run(run)}, so that records can stand beside it, found {folder}; "
            "set --output-dir"
        )
    return folder.parents[3]


def _revert(
    run: FinishedRun,
    sets: Sequence[Shares],
    drawn: Sequence[Restoration],
    options: argparse.Namespace,
    output_dir: Path,
) -> None:
    chosen = [Restoration(shares, weight) for shares, weight in itertools.product(sets, options.weights)]
    base = base_state(run)
    table = restore_run(run, base, chosen, output_dir) if chosen else None
    revert_run(run, base, drawn, output_dir)
    if table is not None:
        _write_tables(run, table, options, output_dir)


def _write_tables(run: FinishedRun, table: pd.DataFrame, options: argparse.Namespace, output_dir: Path) -> None:
    """Write what the chosen sets changed, and its trend with distance; random sets are for the analysis of the study."""
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
