"""Dropout and attention on a processor against torch's own."""

import copy
import inspect
import math

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from xling.freezing import switch_off_dropout
from xling.models import EncoderSpec, load_encoder
from xling.models.fast.attention import ATTENTION, attend, use_processor_attention
from xling.models.fast.dropout import ProcessorDropout, dropout, use_processor_dropout
from xling.models.layers import ARCHITECTURES


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_elements_are_dropped_with_their_probability_and_the_mean_is_kept(p, dtype):
    torch.manual_seed(0)
    values = dropout(torch.ones(1000, 401, dtype=dtype), p)
    share, error = (values == 0).double().mean().item(), math.sqrt(p * (1 - p) / values.numel())
    assert share == pytest.approx(p, abs=4 * error + 2**-17)
    assert values[values != 0].unique().tolist() == pytest.approx(
        [1 / (1 - p)], rel=4e-3 if dtype == torch.bfloat16 else 1e-4
    )
    assert values.dtype == dtype


def test_elements_are_independent():
    torch.manual_seed(1)
    kept = (dropout(torch.ones(4096, 64), 0.3) != 0).double() - 0.7
    correlation = kept.T @ kept / (4096 * 0.3 * 0.7) - torch.eye(64)
    assert correlation.abs().max() < 5 / math.sqrt(4096) + 0.02
    rows = kept.flatten()
    for lag in (1, 2, 3, 4, 64):  # the four numbers of one draw, the next draw, the next row
        assert (rows[lag:] * rows[:-lag]).mean().abs() < 5 * 0.21 / math.sqrt(len(rows))


def test_torchs_random_state_decides():
    values = torch.ones(1001)
    torch.manual_seed(3)
    state, first, second = torch.get_rng_state(), dropout(values, 0.5), dropout(values, 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(values, 0.5), first)
    assert not torch.equal(first, second)


def test_the_gradient_has_the_same_zeros_and_scale():
    values = torch.randn(50, 7, requires_grad=True)
    found = dropout(values, 0.4)
    found.sum().backward()
    torch.testing.assert_close(values.grad * values, found)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_and_everything_can_be_dropped(p, expected):
    assert dropout(torch.ones(9), p).eq(expected).all()


def test_compiled_code_drops_as_torch_does():
    compiled = torch.compile(ProcessorDropout(0.5), backend="eager", fullgraph=True)  # a number in Python breaks graphs
    assert set(compiled(torch.ones(1000)).unique().tolist()) == {0.0, 2.0}


def test_plain_dropouts_are_replaced_and_keep_their_mode():
    class Special(nn.Dropout):
        pass

    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3), Special(0.4))).eval()
    use_processor_dropout(model)
    assert [type(part) for part in (model[0], *model[1])] == [ProcessorDropout, ProcessorDropout, Special]
    assert [part.p for part in (model[0], *model[1])] == [0.2, 0.3, 0.4]
    values = torch.randn(10)
    assert torch.equal(model(values), values)
    assert model.train()(values).eq(0).any()


def heads(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, 5, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


MASK = (torch.arange(5) < torch.tensor([[5], [3], [1]]))[:, None, None]


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_attention_with_the_drawn_weights_is_the_formula(mask, dtype, tolerance):
    torch.manual_seed(5)
    found = attend(*heads(dtype), mask, 0.3, 0.4)
    query, key, value = (states.double() for states in heads(dtype))
    scores = query @ key.transpose(-1, -2) * 0.4
    weights = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
    torch.manual_seed(5)
    expected = weights * dropout(torch.ones(3, 2, 5, 5), 0.3) @ value
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("mask", [None, MASK])
def test_attention_that_drops_next_to_nothing_is_torchs_own_with_its_gradients(mask):
    torch.manual_seed(0)
    ours, theirs = heads(), heads()
    found = attend(*ours, mask, 2**-16, 0.4)
    expected = nn.functional.scaled_dot_product_attention(*theirs, mask, scale=0.4)
    for states in (found, expected):
        states.square().sum().backward()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-3, rtol=1e-3)


def test_autocast_does_not_lower_the_attentions_inside():
    torch.manual_seed(0)
    plain = attend(*heads(), None, 0.1, 0.4)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(*heads(), None, 0.1, 0.4), plain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_architecture_computes_anything_else(architecture):
    plain = load_encoder(EncoderSpec("tiny", architecture, weights="tiny", pooling="mean"), "unused")
    ours = copy.deepcopy(plain)
    use_processor_dropout(ours)
    use_processor_attention(ours)
    uses_torchs_kernel = plain.config._attn_implementation == "sdpa"
    assert (ours.config._attn_implementation == ATTENTION) is uses_torchs_kernel
    ids, mask = torch.arange(5, 19).view(2, 7), torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    for encoder in (plain, ours):
        encoder.eval()
    assert torch.equal(ours(input_ids=ids, attention_mask=mask)[0], plain(input_ids=ids, attention_mask=mask)[0])
    switch_off_dropout(plain)
    switch_off_dropout(ours)
    for part in ours.modules():  # next to nothing is dropped, but our attention runs
        if isinstance(part, nn.Dropout):
            part.p = 2**-16
    torch.manual_seed(0)
    found, expected = (encoder.train()(input_ids=ids, attention_mask=mask)[0] for encoder in (ours, plain))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_what_transformers_asks_of_attention_is_known():
    known = {
        "module",
        "query",
        "key",
        "value",
        "attention_mask",
        "dropout",
        "scaling",
        "is_causal",
        "position_bias",
        "cache",
    }
    assert set(inspect.signature(sdpa_attention_forward).parameters) == known | {"kwargs"}
