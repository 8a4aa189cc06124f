"""Sets up logs that people can read: one line per event on the terminal, and the same in the run's directory."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xling.machine.plain_text import printable

_FORMAT = "%(asctime)s  %(message)s"

_off_terminal: set[str] = set()
"""Names of loggers whose messages are not shown on a terminal, where a progress bar says the same."""


class _PrintableFormatter(logging.Formatter):
    """Makes messages printable, because names in them come from files of unknown origin, and a terminal must not act on them."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, line by line without escape sequences."""
        return "\n".join(map(printable, super().format(record).split("\n")))


def configure_logging() -> None:
    """Send messages to stderr: xling's from level INFO on, those of other packages from WARNING on."""
    logging.basicConfig(level=logging.WARNING, format=_FORMAT, datefmt="%H:%M:%S", stream=sys.stderr, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_PrintableFormatter(_FORMAT, datefmt="%H:%M:%S"))
        handler.addFilter(lambda record: record.name not in _off_terminal)
    logging.getLogger("xling").setLevel(logging.INFO)
    # tokenised rows are cheap to read: loader processes would cost more than they bring
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # the study logs to its own tables; a short epoch with few log points is no fault
    warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
    # a run directory is reused on purpose, when an interrupted run goes on
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    # a login node has srun; that a run is started there on purpose is the user's choice
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # what is logged at an epoch's end is the same in all processes
    warnings.filterwarnings("ignore", message=".*It is recommended to use `self.log.*sync_dist=True.*")
    # Lightning's own use of the tree API in torch 2.13
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*")
    logging.getLogger("submitit").propagate = False  # it prints its own messages
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def show_on_terminal(name: str, shown: bool) -> None:
    """Choose whether messages of the logger `name` are shown on the terminal; files have them in any case."""
    (_off_terminal.discard if shown else _off_terminal.add)(name)


class _QuietFileHandler(logging.FileHandler):
    """A file handler that ignores lines it cannot write: the terminal has them anyway, and the run itself reports a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Leave a line that cannot be written out of the file, without the traceback that logging would print."""

    def close(self) -> None:
        """Close, written out or not."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append messages to `path` as well, as long as the block runs."""
    handler = _QuietFileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
