"""The two long commands, started without delay: their imports make a million objects, none of them garbage."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from xling.commands.parser import told_version


def train() -> None:
    """``xling-train``, ``python train.py``."""
    if told_version("xling-train"):
        return
    with nothing_collected():
        from xling.commands.train import main
    main()


def analyze() -> None:
    """``xling-analyze``, ``python analyze.py``."""
    if told_version("xling-analyze"):
        return
    with nothing_collected():
        from xling.commands.analyze import main
    main()


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Import without the garbage collector, which takes an eighth of the time; later it leaves these objects alone."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(
            gc.unfreeze
        )  # objects that stay frozen at the end are reported as leaks by torch's own bindings
        gc.enable()
