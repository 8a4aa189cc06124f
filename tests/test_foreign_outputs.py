"""What layers give, and poolings of one's own: tensors, what begins with one, and what is refused."""

import pytest
import torch
from foreign import fit_by_default
from one_layer import OneLayer, OnlyHidden, first_tensor, outputs, stored
from strangers import MaskedTagger
from torch import nn
from torch.utils.data import DataLoader
from transformers.modeling_outputs import BaseModelOutput

from xling.callbacks import ImpactMonitor, RepresentationWriter
from xling.errors import XlingValueError
from xling.probing.representations import load_representations


def largest(hidden_states, mask):
    """A pooling of somebody's own."""
    return hidden_states.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)


@pytest.mark.parametrize("pooling", [largest, "test_foreign_outputs:largest"])
def test_a_pooling_of_ones_own_gets_the_layer_and_its_mask(pooling, tmp_path):
    module = MaskedTagger()
    writer = RepresentationWriter(tmp_path / "rows", pooling=pooling, dtype="float32")
    fit_by_default(module, tmp_path, [writer, monitor := ImpactMonitor(pooling=pooling)])
    found = load_representations(tmp_path / "rows" / "step_000010" / "0.safetensors")
    assert found.facts["pooling"] == "test_foreign_outputs:largest"
    assert monitor.records[-1]["impact"] > 0
    module.eval()
    batch = next(iter(DataLoader(module.data(26), 26)))
    with torch.no_grad():
        hidden = module.encoder(batch["input_ids"], attention_mask=batch["right"])[0]
    torch.testing.assert_close(found.layers["layer_02"], largest(hidden, batch["right"]), atol=1e-5, rtol=1e-5)


def test_a_pooling_of_ones_own_must_give_rows(tmp_path):
    for give, message in (
        (lambda h, mask: h, r"got torch.float32 \[8, 7, 16\]"),
        (lambda h, mask: None, "got NoneType"),
    ):
        with pytest.raises(XlingValueError, match=rf"to give one vector per row, \[rows, features\], {message}"):
            fit_by_default(MaskedTagger(), tmp_path, [ImpactMonitor(pooling=give)])
    maps = OneLayer(nn.Conv2d(3, 4, 3), (3, 9, 9))
    rows = stored(maps, tmp_path / "maps", pooling=lambda h, mask: h.amax(dim=(2, 3)))
    torch.testing.assert_close(rows, outputs(maps).amax(dim=(2, 3)))


class Gives(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.linear, self.give = nn.Linear(3, 4), give

    def forward(self, x):
        return self.give(self.linear(x))


REFUSED = {
    "dict": (lambda h: {"hidden": h}, "got a dict"),
    "dataclass": (OnlyHidden, "got a OnlyHidden"),
    "None first": (lambda h: (None, h), "got a tuple that begins with NoneType"),
    "a tuple first": (lambda h: ((h, h), h), "got a tuple that begins with tuple"),
    "an empty first": (lambda h: ([], h), "got a tuple that begins with list"),
    "complex": (torch.fft.fft, "got a torch.complex64"),
    "whole numbers": (lambda h: (h.argmax(-1), h), "got a tuple that begins with torch.int64"),
    "sparse": (lambda h: (h.detach().to_sparse(), h), "begins with torch.sparse_coo torch.float32"),
    "transformers' output without a tensor": (
        lambda h: BaseModelOutput(hidden_states=(h, h)),
        "got a BaseModelOutput that begins with tuple",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_output_that_is_no_tensor_is_refused_in_a_sentence_that_names_the_layer(name, tmp_path):
    give, message = REFUSED[name]
    with pytest.raises(XlingValueError, match=f"layer layer: expected the output to be a dense tensor.*{message}"):
        fit_by_default(OneLayer(Gives(give), (3,)), tmp_path, [ImpactMonitor("layer")])


@pytest.mark.parametrize("give", [lambda h: h, lambda h: (h, None), lambda h: [h], lambda h: BaseModelOutput(h)])
def test_a_tensor_or_what_begins_with_one_is_read(give, tmp_path):
    module = OneLayer(Gives(give), (3,))
    torch.testing.assert_close(stored(module, tmp_path, feature_axis=-1), first_tensor(outputs(module)))
