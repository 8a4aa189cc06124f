"""Compiled modules run as they were written while somebody reads their layers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_stance = ExitStack()
_n_holders = 0


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled modules uncompiled within the block. Blocks may overlap and end in any order; the last one to end restores it.

    torch's own stance is put back by each block to what that block found, which is right for nested blocks alone; callbacks
    begin and end in the same order.
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
