"""Layers read during a forward pass."""

import pytest
import torch
from torch import nn

from xling.models.pooling import POOLINGS
from xling.probing.tap import LayerTap


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("n_rows", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_does_not_keep_the_hidden_states_alive(pooling, n_rows, dtype):
    layer = nn.Linear(4, 4, dtype=dtype)
    tap = LayerTap({"layer": layer}, POOLINGS[pooling])
    tap.attach()
    tap.begin_pass(torch.ones(n_rows, 7))
    with torch.inference_mode():
        hidden_states = layer(torch.randn(n_rows, 7, 4, dtype=dtype))
    (kept,) = tap.end_pass()
    tap.detach()
    assert kept.untyped_storage().nbytes() == kept.nbytes
    torch.testing.assert_close(kept, POOLINGS[pooling](hidden_states.float(), torch.ones(n_rows, 7)))


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_a_layer_is_read_before_a_later_one_changes_it_in_place(pooling):
    layer = nn.Linear(4, 4)
    tap = LayerTap({"layer": layer}, POOLINGS[pooling])
    tap.attach()
    tap.begin_pass(None)
    examples = torch.randn(5, 4)
    with torch.inference_mode():
        nn.functional.relu_(layer(examples))
    (kept,) = tap.end_pass()
    tap.detach()
    with torch.inference_mode():
        torch.testing.assert_close(kept, layer(examples))


def test_pooling_is_exact_under_autocast():
    layer = nn.Linear(4, 4)
    tap = LayerTap({"layer": layer}, POOLINGS["mean"])
    tap.attach()
    examples, mask = torch.randn(5, 7, 4), (torch.arange(7) < torch.tensor([[7], [3], [2], [6], [1]])).long()
    with torch.autocast("cpu", torch.bfloat16):
        tap.begin_pass(mask)
        hidden_states = layer(examples)
        (kept,) = tap.end_pass()
    tap.detach()
    torch.testing.assert_close(kept, POOLINGS["mean"](hidden_states.float(), mask), atol=1e-6, rtol=1e-6)
