"""Matrix products in the precision that similarity needs, whatever the surrounding training loop has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def similarity_precision(device_type: str, *, allow_tf32: bool = False) -> Iterator[None]:
    """Run the body without autograd, autocast or reduced-precision float32 matrix products.

    A bf16 autocast region or ``torch.set_float32_matmul_precision("medium")`` around a validation step would otherwise
    reach the accumulation, where 8 bits of mantissa drown an impact of 1e-4. Both settings are restored afterwards.
    Inference mode is left, because accumulators made inside it could not be updated outside.

    Args:
        device_type: ``"cpu"``, ``"cuda"``, ...
        allow_tf32: let the GPU multiply in TF32 (10 bits of mantissa): about 1e-4 of error for much speed.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    try:
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
