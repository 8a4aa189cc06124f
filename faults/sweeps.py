"""Starts a small real sweep over and over, by its command, or in a forked process, so that torch is imported only once."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.machine.logs import configure_logging
from xling.runs.directory import RunDirectory
from xling.runs.planned_runs import RunKey, run_key
from xling.settings import RunSettings

SIZE = (
    "model=tiny_bert",
    "target_languages=[en,de,sw]",
    "data.source.n_premises={train: 24, probe: 8}",
    "data.batch_size=12",
    "data.max_length=48",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=2",
    "checkpoint.every_n_steps=2",
)
SWEEP = ("source_language=en,de,es,ru", "freeze=none,embeddings", "seed=1,2")
ONE_RUN = ("source_language=en", "freeze=none", "seed=1")


@dataclass
class Study:
    """A study in a folder of its own.

    Attributes:
        root: folder of the study's runs, cache and output.
        overrides: settings besides ``SIZE``.
        name: name of the study.
    """

    root: Path
    overrides: Sequence[str] = SWEEP
    name: str = "faults"
    output_dir: Path = field(init=False)
    cache_dir: Path = field(init=False)
    _runs: list[RunSettings] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.output_dir, self.cache_dir = self.root / "runs", self.root / "cache"

    @property
    def folder(self) -> Path:
        """Folder of the study's runs."""
        return self.output_dir / self.name

    def arguments(self) -> list[str]:
        """The arguments that a user would type after ``train.py``."""
        places = [f"study={self.name}", f"output_dir={self.output_dir}", f"cache_dir={self.cache_dir}"]
        return ["-m", *SIZE, *self.overrides, *places]

    def start(self, before: Callable[[], None] = lambda: None) -> "Forked":
        """Start the sweep in a forked process; `before` runs in it first."""
        from xling.commands.train import main

        def work() -> None:
            sys.argv = ["train.py", *self.arguments()]
            before()
            main()

        return Forked(self.root, work)

    def start_as(self, user: int) -> "Forked":
        """Start the sweep's runs in a forked process of another user."""
        if self._runs is None:
            self._runs = self._compose()
        from xling.commands.train import train

        runs = self._runs

        def work() -> None:
            os.setgid(user)
            os.setuid(user)
            for settings in runs:
                train(settings)

        return Forked(self.root, work)

    def start_composed(self, *, is_rest: bool = False) -> "Forked":
        """Start the sweep's runs in a forked process, with settings composed here, since that takes Hydra longer than a run.

        Args:
            is_rest: leave out complete runs, which would take most of the time until the next kill.
        """
        if self._runs is None:
            self._runs = self._compose()
        from xling.commands.train import train

        runs = [c for c in self._runs if not (is_rest and self._is_complete(run_key(c)))]
        return Forked(self.root, lambda: [train(settings) for settings in runs])

    def _is_complete(self, key: RunKey) -> bool:
        return RunDirectory.of(self.output_dir, study=self.name, **key._asdict()).is_complete

    def _compose(self) -> list[RunSettings]:
        places = [f"study={self.name}", f"output_dir={self.output_dir}", f"cache_dir={self.cache_dir}"]
        varied = [[f"{name}={value}" for value in values.split(",")] for name, values in
                  (override.split("=") for override in self.overrides)]  # fmt: skip
        with initialize_config_module("xling.conf", version_base="1.3"):
            composed = [compose("train", [*SIZE, *places, *settings]) for settings in itertools.product(*varied)]
            return [RunSettings.from_plain(OmegaConf.to_container(config, resolve=True)) for config in composed]

    def command(self, environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Start the sweep as a user does."""
        return subprocess.Popen(
            [sys.executable, "-m", "xling.commands.train", *self.arguments()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        )


class Forked:
    """Work in a child process, its messages in a file.

    Args:
        folder: folder of the file with the messages.
        work: function that is called in the child process.
    """

    def __init__(self, folder: Path, work: Callable[[], object]) -> None:
        self.messages_file, self.stack_file = folder / "messages.txt", folder / "stack.txt"
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work)
        os.setpgid(self.pid, self.pid)  # a process in an orphaned group ignores SIGTSTP

    def _run(self, work: Callable[[], object]) -> None:
        import faulthandler

        status = 1
        try:
            output = os.open(self.messages_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1) for descriptor in (1, 2))  # not pytest's
            faulthandler.register(signal.SIGTSTP, self.stack_file.open("w"), all_threads=False, chain=True)
            _keep_from_python(signal.SIGTSTP)
            configure_logging()
            work()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the exit status (negative: a signal); None if the process still runs after `seconds`."""
        ends = None if seconds is None else time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, 0 if ends is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > ends:
                return None
            time.sleep(0.002)

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> int:
        """Kill the process (SIGKILL) and wait for its end."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def pause(self) -> str:
        """Stop the process where it is; returns its main thread's stack, which is empty if it has just begun or ended."""
        known = self._stack_size()
        self.signal(signal.SIGTSTP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return self.stack_file.read_text()[known:] if self.stack_file.is_file() else ""

    def resume(self) -> None:
        """Let a paused process go on."""
        self.signal(signal.SIGCONT)

    def _stack_size(self) -> int:
        return self.stack_file.stat().st_size if self.stack_file.is_file() else 0

    def messages(self) -> str:
        """Read what the process printed."""
        return self.messages_file.read_text(errors="replace")


def _keep_from_python(number: int) -> None:
    """Leave a signal to faulthandler, since Lightning's teardown sets every handler back to the one that Python knows."""
    register = signal.signal
    signal.signal = lambda which, handler: signal.SIG_DFL if which == number else register(which, handler)
