"""Rules of thumb for what a run will cost in time and on disk, used where the study has no finished runs to measure by.

A CPU core is taken to do 6e10 floating-point operations per second, which e5_small reached in float32 on the real XNLI
(LOG.md: 5,010 pairs trained on in 270 s, 6,750 probed in 135 s, 2 cores). A GPU is assumed to do 3e13; that was not measured.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from xling.models.size import EncoderSize

TOKENS = 50
"""Average tokens of an XNLI test pair under mBERT: 40 in English, 95 in Thai, about 50 in most languages."""
CPU_RATE, GPU_RATE = 6e10, 3e13
"""Floating-point operations per second of a core (measured with e5_small) and of a GPU (assumed, not measured)."""
OVERHEAD_S = 20.0
"""Seconds for starting, loading data and model, and writing."""
FLOAT_BYTES, TOKEN_BYTES = 4, 16
"""Bytes of a number in float32 (a weight, or a number of a representation), and of a token with its segment as 64-bit integers."""


@dataclass(frozen=True)
class Workload:
    """How much one run processes: examples, tokens, steps.

    Attributes:
        n_train: number of training examples.
        n_probe: number of probe examples of one target language.
        n_targets: number of target languages.
        epochs: number of passes over the training examples; a fraction where max_steps ends training earlier.
        validations: number of validations, each of all targets.
    """

    n_train: int
    n_probe: int
    n_targets: int
    epochs: float
    validations: int


def compute_run_flops(size: EncoderSize, frozen: Collection[int], work: Workload) -> float:
    """Count the floating-point operations of one run.

    Per weight and token these are 2 in the forward pass, 2 for gradients of activations and 2 for gradients of weights. A frozen
    block needs no gradients of weights, and none of activations where nothing below it trains. Attention's quadratic part and the
    head are left out; at 50 tokens they are a few per cent.

    Args:
        size: sizes of the encoder.
        frozen: indices of the frozen layers, 0 = embeddings.
        work: how much the run processes.
    """
    per_block = size.n_block_parameters / size.n_layers
    lowest_trained = min(set(range(size.n_layers + 1)) - set(frozen), default=math.inf)
    training = sum(
        per_block * (2 + 2 * (layer > lowest_trained) + 2 * (layer not in frozen))
        for layer in range(1, size.n_layers + 1)
    )
    probing = 2 * size.n_block_parameters * work.n_probe * work.n_targets * work.validations
    return TOKENS * (training * work.n_train * work.epochs + probing)


def compute_checkpoint_bytes(size: EncoderSize, frozen: Collection[int], *, word_embeddings: bool = False) -> int:
    """Compute the largest size of a checkpoint in bytes: every weight, and AdamW's two moments of those that train.

    It can be smaller, because moments of word pieces that the training examples do not use are not kept.

    Args:
        size: sizes of the encoder.
        frozen: indices of the frozen layers, 0 = embeddings.
        word_embeddings: whether the word-piece table, nearly all of layer 0, is frozen by itself.
    """
    n_frozen = size.n_block_parameters // size.n_layers * len(set(frozen) - {0})
    if word_embeddings or 0 in frozen:
        n_frozen += size.n_embedding_parameters
    return FLOAT_BYTES * (size.n_parameters + 2 * (size.n_parameters - n_frozen))


def compute_base_bytes(size: EncoderSize, work: Workload) -> int:
    """Compute the bytes of the base representations of all targets, which runs of one model and probe share."""
    return FLOAT_BYTES * (size.n_layers + 1) * size.hidden * work.n_probe * work.n_targets


def compute_tokenised_bytes(n_examples: int) -> int:
    """Compute the bytes of tokenised examples in the cache."""
    return TOKEN_BYTES * TOKENS * n_examples
