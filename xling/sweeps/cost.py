"""What a run will cost in time and on disk: rules of thumb, to be replaced by measurement where there is one.

Rates: on a processor 6e10 floating-point operations a second and core, as e5_small reached in float32 on the real XNLI
(LOG.md: 5,010 pairs trained on in 270 s, 6,750 probed in 135 s, 2 cores). On a GPU 3e13, assumed, not measured.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from xling.models.size import EncoderSize

TOKENS = 50
"""Average tokens of an XNLI test pair under mBERT: 40 in English, 95 in Thai, about 50 in most languages."""
CPU_RATE, GPU_RATE = 6e10, 3e13
OVERHEAD_S = 20.0
"""Starting, loading data and model, writing."""
FLOAT_BYTES, TOKEN_BYTES = 4, 16
"""Of a weight or a representation's number in float32; of a token and its segment as 64-bit integers."""


@dataclass(frozen=True)
class Workload:
    """How much one run processes: examples, tokens, steps.

    Attributes:
        n_train: training examples.
        n_probe: probe examples of one target language.
        n_targets: target languages.
        epochs: passes over the training examples; a fraction where max_steps ends earlier.
        validations: validations of all targets.
    """

    n_train: int
    n_probe: int
    n_targets: int
    epochs: float
    validations: int


def compute_run_flops(size: EncoderSize, frozen: Collection[int], work: Workload) -> float:
    """Floating-point operations of one run: 2 per weight and token forward, 2 for gradients of activations, 2 of weights.

    A frozen block needs no gradients of weights, and none of activations where nothing below it trains. Attention's
    quadratic part and the head are left out; at 50 tokens they are a few per cent.

    Args:
        size: of the encoder.
        frozen: frozen layers, 0 = embeddings.
        work: what is processed.
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
    """Bytes of a checkpoint at most: every weight, and AdamW's two moments of those that train.

    Moments of word pieces that the training examples do not use are not kept, which the size alone does not tell.

    Args:
        size: of the encoder.
        frozen: frozen layers, 0 = embeddings.
        word_embeddings: the word-piece table, nearly all of layer 0, is frozen.
    """
    n_frozen = size.n_block_parameters // size.n_layers * len(set(frozen) - {0})
    if word_embeddings or 0 in frozen:
        n_frozen += size.n_embedding_parameters
    return FLOAT_BYTES * (size.n_parameters + 2 * (size.n_parameters - n_frozen))


def compute_base_bytes(size: EncoderSize, work: Workload) -> int:
    """Bytes of the base representations of all targets, which runs of one model and probe share."""
    return FLOAT_BYTES * (size.n_layers + 1) * size.hidden * work.n_probe * work.n_targets


def compute_tokenised_bytes(n_examples: int) -> int:
    """Bytes of tokenised examples in the cache."""
    return TOKEN_BYTES * TOKENS * n_examples
