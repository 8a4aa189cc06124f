"""The command ``xling-fetch``, which downloads what a study needs, for machines without internet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from xling.commands.parser import told_version
from xling.settings import RunSettings
from xling.sweeps.expand import expand_sweep, settings_of_job
from xling.sweeps.job import as_task, run_command
from xling.sweeps.study_callback import do_instead


class FetchCallback(Callback):
    """The Hydra callback that fetches, before the first job, what all jobs of the sweep need, and ends the command."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Fetch what a single run needs, and end the command."""
        do_instead(fetch_and_print, lambda: [settings_of_job(config)])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Fetch what every run of a sweep needs, and end the command."""
        do_instead(fetch_and_print, lambda: expand_sweep(config))


def fetch_and_print(runs: Sequence[RunSettings]) -> None:
    """Fetch what `runs` need; print what was fetched, and the setting with which to use it."""
    from xling.sweeps.fetching import fetch  # torch and transformers, slow to import

    dest = Path(runs[0].named["dest"]).expanduser().absolute()
    items = fetch(runs, dest)
    table = Table("what", "revision", "size", "", title=str(dest), title_justify="left")
    for item in items:
        files = [path for path in item.folder.rglob("*") if path.is_file()] if item.folder else []
        size = f"{sum(path.stat().st_size for path in files) / 1e6:,.1f} MB" if files else "nothing to fetch"
        table.add_row(item.what, item.revision[:12], size, item.state)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        "Machines without internet that see this folder (or a copy of it) need one more setting:", highlight=False
    )
    console.print(f"  xling-train ... cache_dir={dest}      or: export XLING_CACHE={dest}", highlight=False)


@hydra.main(version_base="1.3", config_path="pkg://xling.conf", config_name="fetch")
@as_task
def _task(config: DictConfig) -> None:
    """Do nothing, since the callback ends the command before the first job."""


def main() -> None:
    """Run the command."""
    if not told_version("xling-fetch"):
        run_command(_task, "fetch")


if __name__ == "__main__":
    main()
