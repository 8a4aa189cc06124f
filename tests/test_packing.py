"""The path without padding against the padded one."""

import pytest
import torch
from transformers import AutoModel, BertConfig, DistilBertConfig, XLMRobertaConfig

from xling.errors import XlingValueError
from xling.models.fast.packing import attend_by_length, attend_ragged, encode_packed
from xling.models.pooling import POOLINGS

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
CONFIGS = {"bert": BertConfig(**SMALL), "xlm-roberta": XLMRobertaConfig(**SMALL)}
LENGTHS = (5, 9, 2, 9, 1, 5, 12)


def make_encoder(name):
    torch.manual_seed(0)
    return AutoModel.from_config(CONFIGS[name], add_pooling_layer=False).eval()


def make_batch(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 50, mask.shape, generator=generator)
    return {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("lengths", [LENGTHS, (4, 4, 4), (1,)])
def test_real_tokens_come_out_as_in_the_padded_pass(name, lengths):
    encoder, batch = make_encoder(name), make_batch(lengths)
    padded, packed = encoder(**batch)[0], encode_packed(encoder, **batch)
    is_real = batch["attention_mask"].bool()
    torch.testing.assert_close(packed[is_real], padded[is_real], atol=1e-5, rtol=0)
    assert not packed[~is_real].any()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_poolings_and_gradients_agree(pooling):
    encoder, batch = make_encoder("bert"), make_batch()
    pool = POOLINGS[pooling]
    gradients = []
    for hidden_states in (encoder(**batch)[0], encode_packed(encoder, **batch)):
        encoder.zero_grad()
        pool(hidden_states, batch["attention_mask"]).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    for padded, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, atol=1e-4, rtol=1e-4)


def test_segments_are_packed_too():
    encoder, batch = make_encoder("bert"), make_batch()
    segments = torch.zeros_like(batch["input_ids"])
    segments[:, 1:] = 1
    padded, packed = (
        encoder(**batch, token_type_ids=segments)[0],
        encode_packed(encoder, **batch, token_type_ids=segments),
    )
    is_real = batch["attention_mask"].bool()
    torch.testing.assert_close(packed[is_real], padded[is_real], atol=1e-5, rtol=0)


def test_packing_starts_from_a_prefix_too():
    encoder, batch = make_encoder("xlm-roberta"), make_batch()
    whole = encoder(**batch, output_hidden_states=True).hidden_states
    packed = encode_packed(encoder, **batch, prefix=(2, whole[2]))
    is_real = batch["attention_mask"].bool()
    torch.testing.assert_close(packed[is_real], whole[-1][is_real], atol=1e-5, rtol=0)


def test_the_encoder_is_left_as_it_was():
    encoder, batch = make_encoder("bert"), make_batch()
    before = encoder(**batch)[0]
    encode_packed(encoder, **batch)
    assert torch.equal(encoder(**batch)[0], before)


def test_an_architecture_that_does_not_pack_is_refused():
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    with pytest.raises(XlingValueError, match=r"works for bert, roberta, xlm-roberta, not for distilbert; set packed"):
        encode_packed(AutoModel.from_config(config), **make_batch())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")  # the loop on a processor
@pytest.mark.parametrize("lengths", [[1, 2, 2, 5, 9], [3, 3]])
def test_ragged_attention_is_that_of_each_length(lengths):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    outcomes = []
    for attend, extra in ((attend_by_length, []), (attend_ragged, [offsets])):
        generator = torch.Generator().manual_seed(0)
        states = [torch.randn(sum(lengths), 2, 8, generator=generator).requires_grad_() for _ in range(3)]
        found = attend(*states, lengths, *extra, 0.0, 0.4)
        found.square().sum().backward()
        outcomes.append([found, *(part.grad for part in states)])
    for by_length, ragged in zip(*outcomes, strict=True):
        torch.testing.assert_close(ragged, by_length, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cpu", torch.float32),
        pytest.param("cuda", torch.float32, marks=pytest.mark.gpu),
        pytest.param("cuda", torch.bfloat16, marks=pytest.mark.gpu),
    ],
    ids=str,
)
def test_ragged_attention_with_dropout_is_on_average_that_without(device, dtype):
    torch.manual_seed(0)
    n_draws = 400
    lengths = [5] * n_draws + [9] * n_draws  # copies of two examples: a draw each
    once = torch.randn(3, 14, 2, 8)
    copies = torch.cat([once[:, :5].repeat(1, n_draws, 1, 1), once[:, 5:].repeat(1, n_draws, 1, 1)], 1)
    states = [part.to(device, dtype).requires_grad_() for part in copies]
    offsets = torch.tensor([0, *lengths], device=device).cumsum(0)
    without = attend_ragged(*states, lengths, offsets, 0.0, 0.4)
    dropped = attend_ragged(*states, lengths, offsets, 0.2, 0.4)
    dropped.float().square().sum().backward()
    assert all(part.grad.isfinite().all() for part in states)
    sizes = [5 * n_draws, 9 * n_draws]
    for found, expected in zip(dropped.float().split(sizes), without.float().split(sizes), strict=True):
        draws = found.unflatten(0, (n_draws, -1))
        assert draws.std(0).gt(0).all()
        error = (draws.mean(0) - expected[: len(expected) // n_draws]).abs() / draws.std(0)
        assert error.max() < 5 / n_draws**0.5


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_real_tokens_come_out_as_in_the_padded_pass_on_a_gpu(dtype, tolerance):
    encoder = make_encoder("bert").cuda()
    batch = {name: value.cuda() for name, value in make_batch().items()}
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        padded, packed = encoder(**batch)[0], encode_packed(encoder, **batch)
    is_real = batch["attention_mask"].bool()
    torch.testing.assert_close(packed[is_real].float(), padded[is_real].float(), atol=tolerance, rtol=0)
