"""Runs compiled modules as they were written while somebody reads their layers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_stance = ExitStack()
_n_holders = 0


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled modules uncompiled within the block.

    Blocks may overlap and end in any order, as those of several callbacks do, whose hooks run in the same order at the beginning
    and at the end; compilation comes back when the last block ends. torch's own ``set_stance`` is right for nested blocks alone,
    since each restores what it found.
    """
    global _n_holders
    if _n_holders == 0:
        _stance.enter_context(torch.compiler.set_stance("force_eager"))
    _n_holders += 1
    try:
        yield
    finally:
        _n_holders -= 1
        if _n_holders == 0:
            _stance.close()
