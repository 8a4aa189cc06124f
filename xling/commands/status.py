"""The command ``xling-status STUDY``, which shows how far a study is."""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from xling.commands.parser import command_parser
from xling.errors import XlingError
from xling.machine.plain_text import printable
from xling.runs.outlook import study_outlook
from xling.runs.status import STATES, RunStatus, find_studies, study_status
from xling.sweeps.status_table import phrase_counts, phrase_total, run_table


def _as_json(study: Path, runs: list[RunStatus]) -> dict:
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    return {"study": str(study), "counts": counts, "runs": [asdict(run) for run in runs]}


def _show(study: Path, runs: list[RunStatus], console: Console) -> None:
    console.print(run_table(study.name, runs, console.width))
    for run in runs:
        if run.reason:
            place = printable(f"{run.source_language}/{run.strategy}")
            console.print(
                f"{run.state}  {place}/seed_{run.seed}: {printable(run.reason)}", markup=False, soft_wrap=True
            )  # a reason stays one line
    console.print(phrase_total(runs, study_outlook(study, runs)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 0 unless the folder or a study's plan cannot be read."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        while True:
            studies = {study: study_status(study) for study in find_studies(options.study)}
            _print(studies, options, console)
            if options.watch is None or _nothing_goes_on(studies):
                return 0
            time.sleep(options.watch)
    except XlingError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # how one stops watching
        return 0


def _print(studies: dict[Path, list[RunStatus]], options: argparse.Namespace, console: Console) -> None:
    if options.json:
        console.print_json(data=[_as_json(*study) for study in studies.items()], highlight=False)
        return
    if options.watch is not None:
        console.clear()  # on a terminal
    for study, runs in studies.items():
        _show(study, runs, console)
    if len(studies) > 1:
        console.print(
            f"all {len(studies)} studies: {phrase_counts([run for runs in studies.values() for run in runs])}"
        )
    if not studies:
        console.print(f"no runs in {options.study} yet", markup=False)


def _nothing_goes_on(studies: dict[Path, list[RunStatus]]) -> bool:
    return all(run.state in ("done", "failed") for runs in studies.values() for run in runs)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0.1 or more, got {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-status",
        "How far a study is: what is done, running, failed (why) and missing.",
        examples=["runs/mine", "runs --watch 60", "mine.xling --json"],
    )
    parser.add_argument(
        "study", type=Path, help="folder of a study, e.g. runs/freezing, or its pack; or runs, for all studies"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable: a list of studies with their runs")
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=10.0,
        metavar="SECONDS",
        help="look again every so many seconds (10), until all runs are done or have failed, or until Ctrl-C",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
