"""Measures time and memory of the inference of a full study: 15 x 15 languages, 13 layers and their mean, 6 distances.

python benchmarks/qap_speed.py          # target: under 10 s on 2 cores
python benchmarks/qap_speed.py 147      # a published matrix of 147 languages, one outcome; target: under 5 minutes and 4 GB
"""

import resource
import sys
import time

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.associations import infer_associations
from xling.analysis.inputs.measurements import Resampling

N_LANGUAGES, N_LAYERS, N_KINDS, N_CONTROLS = 15, 14, 6, 2


def make_arrays(n_languages: int = N_LANGUAGES, n_outcomes: int = N_LAYERS, seed: int = 0) -> PairArrays:
    """Make a study of random numbers; one language has no data in one of the distances, as Urdu in phonology."""
    generator = np.random.default_rng(seed)
    sources, targets = np.nonzero(~np.eye(n_languages, dtype=bool))
    distances = generator.random((N_KINDS, n_languages, n_languages))
    distances[4, -3], distances[4, :, -3] = np.nan, np.nan
    return PairArrays(
        languages=tuple(map(str, range(n_languages))),
        sources=sources,
        targets=targets,
        predictors=distances,
        outcomes=generator.normal(size=(n_outcomes, len(sources))),
        controls=generator.random((N_CONTROLS, n_languages, n_languages)),
        control_labels=tuple(map(str, range(N_CONTROLS))),
        predictor_labels=tuple((str(k), "") for k in range(N_KINDS)),
        outcome_labels=tuple(("impact", str(layer)) for layer in range(n_outcomes)),
    )


def main() -> None:
    """Print seconds and peak memory."""
    n_languages = int(sys.argv[1]) if len(sys.argv) > 1 else N_LANGUAGES
    n_outcomes = N_LAYERS if n_languages == N_LANGUAGES else 1
    arrays, resampling = make_arrays(n_languages, n_outcomes), Resampling()
    started = time.perf_counter()
    infer_associations(arrays, arrays, resampling)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{n_languages} languages, {resampling.permutations} permutations, {n_outcomes} outcomes, {N_KINDS} distances, all"
    )
    print(
        f"statistics, corrections, intervals, detectable effects, leave-one-out: {seconds:.1f} s, peak memory {peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
