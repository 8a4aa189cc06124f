"""Multiplies matrices in the precision that similarity needs, whatever the surrounding training loop has set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# what torch.set_float32_matmul_precision sets; it refuses to be read where somebody has set these directly
_BACKENDS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]  # set at run time


@contextmanager
def similarity_precision(device_type: str, *, allow_tf32: bool = False, gradients: bool = False) -> Iterator[None]:
    """Run the body without autocast, reduced-precision float32 matrix products or, unless asked for, autograd.

    A bf16 autocast region or ``torch.set_float32_matmul_precision("medium")`` around a validation step would otherwise
    reach the accumulation, where 8 bits of mantissa drown an impact of 1e-4. Both settings are restored afterwards.
    Inference mode is left, because accumulators made inside it could not be updated outside.

    Args:
        device_type: type of the device that computes, ``"cpu"``, ``"cuda"``, ...
        allow_tf32: whether a GPU may multiply in TF32 (10 bits of mantissa), which is much faster with an error of about 1e-4.
        gradients: whether to leave autograd as it is around the call.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    _set(["tf32" if allow_tf32 else "ieee"] * len(_BACKENDS))
    try:
        with ExitStack() as stack:  # of few rows, entering all of these takes as long as multiplying them
            if torch.is_autocast_enabled(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
            if not gradients and torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
            if not gradients and torch.is_grad_enabled():
                stack.enter_context(torch.no_grad())
            yield
    finally:
        _set(before)


def _set(precisions: list[str]) -> None:
    for backend, precision in zip(_BACKENDS, precisions, strict=True):
        backend.fp32_precision = precision
