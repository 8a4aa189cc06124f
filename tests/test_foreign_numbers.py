"""Numbers that a narrow type does not hold are stored all the same, under Trainer's defaults."""

import logging

import pytest
import torch
from foreign import fit_by_default
from strangers import Mlp
from torch import nn

from xling.callbacks import RepresentationWriter
from xling.probing.collect import RowCollector
from xling.probing.representations import load_representations


class Scaled(Mlp):
    """Its layer `large` gives what the layer before it gives, times `scale`."""

    def __init__(self, scale):
        super().__init__()
        self.large = nn.Linear(5, 5, bias=False).requires_grad_(False)
        self.large.weight.data = scale * torch.eye(5)

    def loss(self, batch):
        self.forwards += 1
        hidden_states = self.body(batch[0])
        self.large(hidden_states.detach())
        return nn.functional.cross_entropy(self.head(hidden_states), batch[1])


@pytest.mark.parametrize("scale", [1e6, 1e-7, 1e-12])
def test_a_layer_beyond_float16_is_stored_in_float32_and_the_log_says_so(scale, tmp_path, caplog):
    module = Scaled(scale)
    with caplog.at_level(logging.WARNING):
        fit_by_default(module, tmp_path, [RepresentationWriter(tmp_path / "rows", ["body.0", "large"])], max_epochs=1)
    layers = load_representations(tmp_path / "rows" / "step_000005" / "0.safetensors").layers
    assert (layers["body.0"].dtype, layers["large"].dtype) == (torch.float16, torch.float32)
    module.eval()
    expected = module.body(module.data(26).tensors[0]).detach() * scale
    torch.testing.assert_close(layers["large"], expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)
    assert caplog.text.count("float16 does not hold the numbers of layers large: they are kept in float32") == 1


def test_a_layer_within_float16_stays_there(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        fit_by_default(Scaled(1.0), tmp_path, [RepresentationWriter(tmp_path / "rows", ["large"])], max_epochs=1)
    layers = load_representations(tmp_path / "rows" / "step_000005" / "0.safetensors").layers
    assert layers["large"].dtype == torch.float16
    assert "does not hold" not in caplog.text


def test_one_batch_beyond_float16_keeps_the_others_numbers():
    collector = RowCollector(["a"], torch.float16)
    collector.add(torch.tensor([0, 1]), [torch.tensor([[1.0], [2.0]])])
    collector.add(torch.tensor([2]), [torch.tensor([[70_000.0]])])
    assert collector.result({}).layers["a"].flatten().tolist() == [1.0, 2.0, 70_000.0]


def test_zeros_fit_into_any_type():
    collector = RowCollector(["a"], torch.float16)
    collector.add(torch.tensor([0]), [torch.zeros(1, 3)])
    assert collector.result({}).layers["a"].dtype == torch.float16
