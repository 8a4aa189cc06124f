"""How far a study is: the command ``xling-status STUDY``."""

import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from xling.commands.parser import command_parser
from xling.errors import XlingError
from xling.machine.plain_text import printable
from xling.runs.status import STATES, RunStatus, find_studies, study_status
from xling.sweeps.status_table import phrase_counts, run_table


def _as_json(study: Path, runs: list[RunStatus]) -> dict:
    counts = {state: sum(run.state == state for run in runs) for state in STATES}
    return {"study": str(study), "counts": counts, "runs": [asdict(run) for run in runs]}


def _show(study: Path, runs: list[RunStatus], console: Console) -> None:
    console.print(run_table(study.name, runs))
    for run in runs:
        if run.reason:
            console.print(
                f"{run.state}  {printable(f'{run.source_language}/{run.strategy}')}/seed_{run.seed}: {printable(run.reason)}",
                markup=False,
            )
    console.print(phrase_counts(runs))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 0 unless the folder or a study's plan cannot be read."""
    parser = command_parser("xling-status", __doc__)
    parser.add_argument(
        "study", type=Path, help="folder of a study, e.g. runs/freezing, or its pack; or runs, for all studies"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable: a list of studies with their runs")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)  # a reason stays one line
    try:
        studies = {study: study_status(study) for study in find_studies(options.study)}
    except XlingError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    if options.json:
        console.print_json(data=[_as_json(*study) for study in studies.items()], highlight=False)
        return 0
    for study, runs in studies.items():
        _show(study, runs, console)
    if not studies:
        console.print(f"no runs in {options.study} yet", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
