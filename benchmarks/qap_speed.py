"""Time and memory of the permutation tests of a full study: 15 x 15 languages, 13 layers and their mean, 6 distances.

python benchmarks/qap_speed.py      # target: under 10 s on 2 cores
"""

import resource
import time

import numpy as np

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.permuting import permute_associations
from xling.analysis.inputs.measurements import Resampling

N_LANGUAGES, N_LAYERS, N_KINDS, N_CONTROLS = 15, 14, 6, 2


def make_arrays(seed: int = 0) -> PairArrays:
    """A study of random numbers; one language has no data in one of the distances, as Urdu in phonology."""
    generator = np.random.default_rng(seed)
    sources, targets = np.nonzero(~np.eye(N_LANGUAGES, dtype=bool))
    distances = generator.random((N_KINDS, N_LANGUAGES, N_LANGUAGES))
    distances[4, 12], distances[4, :, 12] = np.nan, np.nan
    return PairArrays(
        languages=tuple(map(str, range(N_LANGUAGES))),
        sources=sources,
        targets=targets,
        predictors=distances,
        outcomes=generator.normal(size=(N_LAYERS, len(sources))),
        controls=generator.random((N_CONTROLS, N_LANGUAGES, N_LANGUAGES)),
        control_labels=tuple(map(str, range(N_CONTROLS))),
        predictor_labels=tuple((str(k), "") for k in range(N_KINDS)),
        outcome_labels=tuple(("impact", str(layer)) for layer in range(N_LAYERS)),
    )


def main() -> None:
    """Print seconds and peak memory of all four statistics and both corrections."""
    arrays, resampling = make_arrays(), Resampling()
    started = time.perf_counter()
    permute_associations(arrays, arrays, resampling, "demeaned")
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{resampling.permutations} permutations x {N_LAYERS} outcomes x {N_KINDS} distances, all four statistics")
    print(f"both corrections, intervals and detectable effects: {seconds:.1f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
