"""Starting from a stored prefix against running the whole encoder."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, DistilBertConfig, T5Config, T5EncoderModel, XLMRobertaConfig

from xling.errors import CorruptArtefactError, UnreachableError, XlingValueError
from xling.models.fast.prefix import blocks_after, blocks_up_to, store_prefix

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
CONFIGS = {
    "bert": BertConfig(**SMALL),
    "xlm-roberta": XLMRobertaConfig(**SMALL),
    "distilbert": DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=32),
}
LENGTHS = np.array([5, 9, 2, 9, 1, 7])


def make_encoder(name="bert"):
    torch.manual_seed(0)
    return AutoModel.from_config(CONFIGS[name]).eval()


def make_inputs(rows=(0, 1, 2, 3, 4, 5)):
    rows = list(rows)
    lengths = torch.from_numpy(LENGTHS[rows])
    mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
    ids = torch.stack([torch.arange(mask.shape[1]) * (row + 3) % 43 + 5 for row in rows])
    return {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}


def make_batches(size=4):
    """Short ones first, as the probe loaders deal them."""
    order = LENGTHS.argsort(kind="stable")
    return [(rows, make_inputs(rows)) for rows in np.split(order, range(size, len(order), size))]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_an_encoder_ends_and_starts_at_any_layer(name, layer):
    encoder, inputs = make_encoder(name), make_inputs()
    whole = encoder(**inputs, output_hidden_states=True).hidden_states
    with blocks_up_to(encoder, layer):
        middle = encoder(**inputs)[0]
    torch.testing.assert_close(middle, whole[layer])
    with blocks_after(encoder, layer, middle):
        last = encoder(**inputs)[0]
    torch.testing.assert_close(last, whole[-1])
    torch.testing.assert_close(encoder(**inputs)[0], whole[-1])


def test_stored_states_are_those_of_the_layer_and_are_computed_once(tmp_path):
    encoder = make_encoder()
    states = store_prefix(encoder, 2, LENGTHS, make_batches(), tmp_path, ["weights", "examples"])
    rows = [3, 0, 4]
    inputs = make_inputs(rows)
    expected = encoder(**inputs, output_hidden_states=True).hidden_states[2]
    for found, hidden_states, length in zip(states.rows(rows), expected, LENGTHS[rows], strict=True):
        torch.testing.assert_close(found, hidden_states[:length], atol=1e-5, rtol=0)
    again = store_prefix(encoder, 2, LENGTHS, iter(()), tmp_path, ["weights", "examples"])
    assert all(map(torch.equal, again.rows(rows), states.rows(rows)))
    assert len(list(tmp_path.glob("*.f32"))) == 1


@pytest.mark.parametrize("place", [100, -1])
def test_a_changed_bit_is_noticed_when_its_example_is_read(tmp_path, place):
    store = lambda: store_prefix(make_encoder(), 1, LENGTHS, make_batches(), tmp_path, ["x"])  # noqa: E731
    store()
    (path,) = tmp_path.glob("*.f32")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    states = store()
    assert len(states.rows([1, 2])) == 2  # these are untouched
    with pytest.raises(
        CorruptArtefactError, match=rf"{path.name} has changed since it was written; delete .* and run again"
    ):
        states.rows(range(len(LENGTHS)))
    path.write_bytes(content[:100])
    with pytest.raises(CorruptArtefactError, match=r"expected 2160 bytes in .*, found 100; delete .* and run again"):
        store()


def test_another_layer_or_content_is_another_file(tmp_path):
    for layer, content in ((1, "a"), (2, "a"), (1, "b")):
        store_prefix(make_encoder(), layer, LENGTHS, make_batches(), tmp_path, [content])
    assert len(list(tmp_path.glob("*.f32"))) == 3


def test_the_encoders_mode_is_left_as_it_was(tmp_path):
    encoder = make_encoder().train()
    store_prefix(encoder, 1, LENGTHS, make_batches(), tmp_path, ["x"])
    assert encoder.training
    assert encoder.encoder.layer[3].training


def test_a_failure_leaves_no_file(tmp_path):
    def broken():
        yield from make_batches()[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_prefix(make_encoder(), 1, LENGTHS, broken(), tmp_path, ["x"])
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock", ".used"}


def test_a_disk_that_is_too_small_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(UnreachableError, match=r"layer 1 for 6 examples needs 0\.00 GB .* set cache_frozen=false"):
        store_prefix(make_encoder(), 1, LENGTHS, make_batches(), tmp_path, ["x"])


def test_an_architecture_that_cannot_start_inside_is_refused():
    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    with (
        pytest.raises(XlingValueError, match=r"not for t5; set cache_frozen=false"),
        blocks_up_to(T5EncoderModel(config), 1),
    ):
        pass
