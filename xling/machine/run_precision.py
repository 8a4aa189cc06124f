"""Chooses the training precision by what the hardware computes natively, and the precision of the probe."""

from xling.errors import XlingValueError, check_known

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


def resolve_precision(name: str | int, accelerator: str = "auto") -> str:
    """Replace ``auto`` by bf16-mixed where bfloat16 matrix products are native, by 32-true elsewhere.

    Emulated bfloat16 is slower than float32 and less exact.

    Args:
        name: one of :data:`PRECISIONS`, or 32.
        accelerator: Lightning's; ``auto`` and ``gpu`` use a CUDA device where there is one.

    Raises:
        XlingValueError: the name is unknown, or the hardware does not have this precision.
    """
    import torch

    name = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}.get(str(name), str(name))
    check_known("trainer.precision", name, PRECISIONS)
    has_gpu = accelerator != "cpu" and torch.cuda.is_available()
    if name == "16-mixed" and not has_gpu:  # Lightning would take bfloat16 instead
        raise XlingValueError(
            "trainer.precision=16-mixed needs a GPU; expected auto, bf16-mixed or 32-true on a processor (float16 scales "
            "losses, which processors do not)"
        )
    if name != "auto":
        return name
    if has_gpu:
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        is_native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if is_native else "32-true"


def probe_precision(training: str, autocast: bool) -> str:
    """Find the precision of the probe's forward pass.

    Args:
        training: precision of training, from :func:`resolve_precision`. Where it ends in ``-true``, the weights themselves have
            that type.
        autocast: whether validation, too, runs under the autocast of training (``probe.autocast``).

    Returns:
        A name in :data:`PRECISIONS`.

    >>> probe_precision("bf16-mixed", autocast=False), probe_precision("bf16-true", autocast=False)
    ('32-true', 'bf16-true')
    """
    return training if autocast or training.endswith("-true") else "32-true"
