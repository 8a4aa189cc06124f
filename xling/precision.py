"""Which training precision the hardware computes natively."""

import torch

from xling.errors import XlingValueError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


def resolve_precision(name: str | int, accelerator: str = "auto") -> str:
    """Replace ``auto`` by bf16-mixed where bfloat16 matrix products are native, by 32-true elsewhere.

    Emulated bfloat16 is slower than float32 and less exact.

    Args:
        name: one of :data:`PRECISIONS`, or 32.
        accelerator: Lightning's; ``auto`` and ``gpu`` use a CUDA device where there is one.

    Raises:
        XlingValueError: unknown name.
    """
    name = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}.get(str(name), str(name))
    if name not in PRECISIONS:
        raise XlingValueError(f"unknown trainer.precision {name!r}; expected one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if accelerator != "cpu" and torch.cuda.is_available():
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        is_native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if is_native else "32-true"
