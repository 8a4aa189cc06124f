"""Starts the processes of a run, or joins those that were started, and has them act together.

Process 0 decides, locks, writes and logs, and the others follow its decisions. In a run of one process all of this does nothing.
"""

import atexit
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, TypeVar, cast

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from pytorch_lightning.strategies import ParallelStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from xling.errors import XlingError, XlingValueError
from xling.machine.distributed import is_distributed
from xling.machine.lightning import SubprocessScriptLauncher

log = logging.getLogger(__name__)

T = TypeVar("T")

_PLACES = ("accelerator", "devices", "num_nodes")


class HasStrategy(Protocol):
    """A trainer, or settings of one."""

    @property
    def strategy(self) -> Any: ...


class Placement(HasStrategy, Protocol):
    """Where a run trains; settings of the trainer are such."""

    @property
    def accelerator(self) -> str: ...

    @property
    def devices(self) -> Any: ...

    @property
    def num_nodes(self) -> int: ...


@contextmanager
def joined_processes(trainer: Placement) -> Iterator[None]:
    """Start the processes that the trainer asks for, or join those that torchrun or srun has started; then connect them.

    Without torchrun or srun, Lightning starts the processes by running this command again, so that they execute the same lines. An
    error that not all processes have ends all of them, because the others would wait for ever.

    Args:
        trainer: settings of the trainer.

    Raises:
        XlingValueError: the settings exclude each other, or do not fit the number of processes that were started.
    """
    strategy = _strategy(trainer)
    if not isinstance(strategy, ParallelStrategy):
        _refuse_strangers()
        yield
        return
    _start(strategy)
    _speak_from(logging.INFO if is_rank_zero() else logging.ERROR)
    try:
        yield
    except BaseException as error:
        if not getattr(error, "is_shared", False):
            _end_others(strategy, error)
        raise
    finally:
        if not is_rank_zero():  # process 0 reports how the run ended
            _speak_from(logging.CRITICAL)


def n_processes() -> int:
    """Number of processes of this run."""
    return torch.distributed.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return torch.distributed.get_rank() if is_distributed() else 0


def is_rank_zero() -> bool:
    """Whether this is the process that decides, writes files and logs."""
    return rank() == 0


def on_rank_zero(function: Callable[[], T]) -> T:
    """Run `function` in process 0 and give its result, or raise its error, in every process.

    Args:
        function: function without arguments, whose result must be picklable.

    Raises:
        XlingError: the error that `function` raised in process 0.
    """
    if not is_distributed():
        return function()
    outcome: list[Any] = [_attempt(function) if is_rank_zero() else None]
    torch.distributed.broadcast_object_list(outcome)
    result, error = outcome[0]
    if error is not None:
        raise _shared(error)
    return result


def on_every_rank(function: Callable[[], T]) -> T:
    """Run `function` in every process; if it fails in any, raise the first such error in all.

    Raises:
        XlingError: the error that was raised; its message names the process, unless that is process 0.
    """
    if not is_distributed():
        return function()
    result, error = _attempt(function)
    errors: list[XlingError | None] = [None] * n_processes()
    torch.distributed.all_gather_object(errors, error)
    for number, error in enumerate(errors):
        if error is not None:
            raise _shared(XlingError(f"process {number} of {len(errors)}: {error}") if number else error)
    return cast(T, result)  # no error anywhere: what the function gave


@contextmanager
def entered_on_rank_zero(manager: AbstractContextManager) -> Iterator[None]:
    """Enter `manager` in process 0; if it cannot be entered there, all raise."""
    with ExitStack() as stack:
        on_rank_zero(lambda: stack.enter_context(manager) and None)
        yield


def _attempt(function: Callable[[], T]) -> tuple[T | None, XlingError | None]:
    try:
        return function(), None
    except XlingError as error:
        return None, error


def _shared(error: XlingError) -> XlingError:
    error.is_shared = True
    return error


def shards_parameters(trainer: HasStrategy) -> bool:
    """Whether the trainer's strategy spreads each parameter over the processes."""
    return "fsdp" in str(trainer.strategy).lower()


def _strategy(trainer: Placement) -> Any:
    """Make the strategy that a trainer with these settings has."""
    if shards_parameters(trainer) and not torch.cuda.is_available():
        raise XlingValueError(
            "trainer=fsdp spreads a model over GPUs, and this machine has none; use trainer=ddp, which runs on processors too"
        )
    strategy = trainer.strategy
    strategy = strategy if isinstance(strategy, str) else instantiate(strategy, _convert_="all")
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    try:
        places = {name: getattr(trainer, name) for name in _PLACES}
        return pl.Trainer(**places, strategy=strategy, **quiet).strategy
    except (ValueError, MisconfigurationException) as error:
        raise XlingValueError(f"the trainer's settings do not go together or not with this machine: {error}") from error


def _start(strategy: ParallelStrategy) -> None:
    if isinstance(strategy.launcher, SubprocessScriptLauncher):
        _refuse_launched_sweep(strategy.launcher)
    try:
        if strategy.launcher is not None:  # none with FSDP where torchrun or srun has started the processes
            strategy.launcher.launch(lambda: None)
    except ValueError as error:  # Lightning's: devices x nodes is not the number of processes started
        raise XlingValueError(f"{error} Set trainer.devices and trainer.num_nodes to what was started.") from error
    atexit.unregister(_disconnect)  # a sweep has several runs in one process
    atexit.register(_disconnect)
    strategy.setup_environment()


def _disconnect() -> None:
    """Take the connection apart before Python ends.

    Lightning does so for NCCL alone. Gloo's threads would still run when the process takes itself apart, and now and then abort
    it then ("terminate called without an active exception"), so that torchrun reports a failure of a run that has ended well.
    """
    if is_distributed():
        torch.distributed.destroy_process_group()


def _end_others(strategy: ParallelStrategy, error: BaseException) -> None:
    """End this process, and the others if it has started them; torchrun and srun end the processes they have started."""
    if isinstance(error, XlingError):
        log.error("error: %s", error)
    elif isinstance(error, Exception):
        log.error("process %d of %d failed", rank(), n_processes(), exc_info=error)
    if strategy.launcher is not None:
        strategy.launcher.kill(signal.SIGKILL)
    if isinstance(error, Exception):  # a sweep would go on without the others
        raise SystemExit(1)


def _speak_from(level: int) -> None:
    logging.getLogger("xling").setLevel(level)


def _refuse_launched_sweep(launcher: SubprocessScriptLauncher) -> None:
    """Refuse to start processes in a job of a launcher, where Lightning would repeat the command of the whole sweep."""
    if launcher.cluster_environment.creates_processes_externally or not HydraConfig.initialized():
        return
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and not hydra.launcher._target_.endswith("BasicLauncher"):
        raise XlingValueError(
            f"several processes per run in a sweep with launcher={hydra.runtime.choices.get('launcher')}: the job cannot start "
            "them; use launcher=basic, or launcher=slurm with as many tasks per node as trainer.devices"
        )


def _refuse_strangers() -> None:
    started = int(os.environ.get("WORLD_SIZE", 1)) if torch.distributed.is_torchelastic_launched() else 1
    if started > 1:
        raise XlingValueError(
            f"torchrun has started {started} processes, and the trainer is for one; add trainer=ddp "
            "trainer.devices=PROCESSES_PER_NODE trainer.num_nodes=NODES"
        )
