"""The estimate for several small runs on one GPU."""

import pytest
import torch

from benchmarks.shared_gpu import CountKernels, Step, count_kernels


def test_views_are_no_kernels():
    matrix = torch.ones(3, 4)
    with CountKernels() as counter:
        matrix.mT[0].unsqueeze(0).add_(1)
    assert counter.n == 1


def test_a_step_has_as_many_kernels_at_any_width():
    assert count_kernels(24) == count_kernels(48) > 500


def test_runs_beside_one_another_gain_until_the_gpu_is_busy():
    waiting, busy = Step(starting=0.008, computing=0.002), Step(starting=0.008, computing=0.016)
    assert waiting.per_hour(2) == pytest.approx(2 * waiting.per_hour(1))
    assert waiting.per_hour(8) == waiting.per_hour(4) == 3600 / 0.002
    assert busy.per_hour(8) == busy.per_hour(1)
