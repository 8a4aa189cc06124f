"""What layers give and which of it counts: axes, masks, and outputs that are no tensor."""

from dataclasses import dataclass

import pytest
import torch
from foreign import fit_by_default
from strangers import Stranger, Tagger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import T5Config, T5Model
from transformers.modeling_outputs import BaseModelOutput

from xling.callbacks import ImpactMonitor, RepresentationWriter
from xling.errors import XlingValueError
from xling.models.pooling import masked_mean
from xling.probing.axes import FIRST, LAST, MAPS, axis_of, layout_of
from xling.probing.representations import load_representations


class Any(Stranger):
    """Reads batches of one input through `layer`, which comes with its own shape."""

    def __init__(self, layer, shape):
        super().__init__()
        self.layer, self.shape = layer, shape
        self.scale = nn.Parameter(torch.ones(()))

    def loss(self, batch):
        self.forwards += 1
        return _first_tensor(self.layer(batch[0])).abs().mean() * self.scale

    def data(self, n=40):
        return TensorDataset(torch.randn(n, *self.shape, generator=torch.Generator().manual_seed(1)))


def _first_tensor(output):
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, dict):
        output = list(output.values())
    elif isinstance(output, Named):
        output = [output.hidden]
    return next(_first_tensor(part) for part in output if part is not None)


def stored(module, folder, name="layer", validation=None, **options):
    """What is written of one layer after a fit."""
    writer = RepresentationWriter(folder / "rows", [name], dtype="float32", **options)
    fit_by_default(module, folder, [writer], validation)
    (path,) = (folder / "rows" / "step_000010").glob("*.safetensors")
    return load_representations(path).layers[name]


def outputs(module):
    module.eval()
    with torch.no_grad():
        return module.layer(module.data(26).tensors[0])


class Block(nn.Module):
    """A block of somebody's own."""

    def __init__(self, *parts, turn=lambda x: x):
        super().__init__()
        self.parts, self.turn = nn.ModuleList(parts), turn

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return self.turn(x)


CLEAR = {
    "Conv1d": (nn.Conv1d(3, 4, 3), (3, 9), (2,)),
    "a sequence that ends with an activation": (
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU()),
        (3, 9),
        (2,),
    ),
    "Conv2d": (nn.Conv2d(3, 4, 3), (3, 9, 9), (2, 3)),
    "a block of convolutions": (Block(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (3, 9, 9), (2, 3)),
    "Conv3d": (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), (2, 3, 4)),
    "GroupNorm": (nn.GroupNorm(1, 3), (3, 9), (2,)),
    "Linear over [batch, sequence]": (nn.Linear(3, 4), (9, 3), (1,)),
    "Linear over [batch, height, width]": (nn.Linear(3, 4), (5, 6, 3), (1, 2)),
    "LayerNorm over [batch, height, width]": (nn.LayerNorm(3), (5, 6, 3), (1, 2)),
    "a transformer's block": (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (9, 4), (1,)),
}


@pytest.mark.parametrize("name", CLEAR)
def test_positions_are_averaged_and_features_kept_where_the_module_says_which_are_which(name, tmp_path):
    layer, shape, positions = CLEAR[name]
    module = Any(layer, shape)
    rows = stored(module, tmp_path)
    torch.testing.assert_close(rows, outputs(module).mean(dim=positions), atol=1e-5, rtol=1e-5)


UNCLEAR = {
    "a block of convolutions over time": (Block(nn.Conv1d(3, 4, 3)), (3, 9), 1, (2,)),
    "one that turns its output": (Block(nn.Conv1d(3, 4, 3), turn=lambda x: x.transpose(1, 2)), (3, 9), -1, (1,)),
    "patches": (Block(nn.Conv2d(3, 4, 3), turn=lambda x: x.flatten(2).mT), (3, 9, 9), -1, (1,)),
    "convolutions and linear layers": (
        Block(nn.Conv2d(3, 4, 3), Block(nn.Linear(7, 7))),
        (3, 9, 9),
        {"lay*": 1},
        (2, 3),
    ),
    "no part that says": (nn.ReLU(), (3, 9), 1, (2,)),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_where_nothing_says_which_axis_holds_the_features_the_user_is_asked(name, tmp_path):
    layer, shape, axis, positions = UNCLEAR[name]
    with pytest.raises(
        XlingValueError, match=r"layer layer: its output is \[8, .*\]; say which axis holds the features"
    ):
        stored(Any(layer, shape), tmp_path)
    module = Any(layer.train(), shape)
    rows = stored(module, tmp_path, feature_axis=axis)
    torch.testing.assert_close(rows, outputs(module).mean(dim=positions), atol=1e-5, rtol=1e-5)


def test_the_users_word_counts_more_than_the_modules(tmp_path):
    module = Any(nn.Linear(3, 4), (9, 3))
    torch.testing.assert_close(stored(module, tmp_path, feature_axis=1), outputs(module).mean(dim=2))


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (0, "not 0, which is the batch; got 0"),
        (1.5, "got 1.5"),
        ({"leyer": 1}, "no layer matches feature_axis='leyer'; did you mean 'layer'"),
        (3, r"its output is \[8, 9, 4\], and feature_axis=3 is none of it"),
    ],
)
def test_an_axis_that_is_none_is_refused(axis, message, tmp_path):
    with pytest.raises(XlingValueError, match=message):
        stored(Any(nn.Linear(3, 4), (9, 3)), tmp_path, feature_axis=axis)


def test_a_mask_may_say_which_axis_is_the_sequence():
    mask = torch.ones(8, 5)
    assert axis_of(None, (8, 5, 7), mask) == 2
    assert axis_of(None, (8, 7, 5), mask) == 1
    assert axis_of(None, (8, 5, 5), mask) is None
    assert axis_of(None, (8, 6, 7), mask) is None


def test_layouts_of_modules():
    assert layout_of(nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Dropout(0.1))) == LAST
    assert layout_of(nn.Sequential(nn.Linear(2, 2), nn.Flatten())) is None
    assert layout_of(nn.LSTM(2, 2)) == LAST
    assert layout_of(nn.LayerNorm([3, 4, 4])) is None
    assert layout_of(nn.MaxPool1d(2)) == FIRST
    assert layout_of(Block(Block(nn.Conv2d(1, 1, 1)))) == MAPS
    assert axis_of(MAPS, (8, 3, 9)) is None


def test_an_activation_keeps_the_axes_of_what_came_before_it(tmp_path):
    module = Any(nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), (3, 9))
    torch.testing.assert_close(stored(module, tmp_path, "layer.1"), outputs(module).mean(dim=2))


def test_one_number_per_example_is_no_representation(tmp_path):
    module = Any(Block(nn.Linear(3, 1), turn=lambda x: x.squeeze(1)), (3,))
    with pytest.raises(
        XlingValueError, match=r"layer layer: expected an output \[batch, ...\] with features, got \[8\]"
    ):
        stored(module, tmp_path)


def test_maps_have_no_first_token(tmp_path):
    module = Any(nn.Conv2d(3, 4, 3), (3, 9, 9))
    with pytest.raises(
        XlingValueError, match=r"layer layer: pooling=cls needs one axis of positions, got \[8, 4, 7, 7\]"
    ):
        stored(module, tmp_path, pooling="cls")


def test_the_first_position_of_channels_over_time_is_in_time(tmp_path):
    module = Any(nn.Conv1d(3, 4, 3), (3, 9))
    torch.testing.assert_close(stored(module, tmp_path, pooling="cls"), outputs(module)[:, :, 0])


class Masked(Tagger):
    """Changes its batches' mask on the way to whoever looks at the batch; the encoder gets the right one."""

    def __init__(self, change=lambda mask: mask):
        super().__init__()
        self.change = change

    def loss(self, batch):
        return super().loss(batch | {"attention_mask": batch["right"]})

    def data(self, n=40):
        rows = [dict(row) for row in super().data(n)]
        for row in rows:
            mask = row["attention_mask"]
            row |= {"right": mask, "input_ids": row["input_ids"] * mask, "attention_mask": self.change(mask)}
        return rows


MASKS = {
    "additive": (lambda mask: (1.0 - mask) * -10000.0, r"expected attention_mask to hold 0 and 1 alone, got values from -10000"),
    "with infinities": (lambda mask: torch.where(mask.bool(), 0.0, -torch.inf), "got values from -inf to 0"),
    "segments": (lambda mask: mask * 2, "got values from 0 to 2"),
    "inverted": (lambda mask: 1 - mask, r"attention_mask counts no position of row \d, as an inverted mask|looks inverted"),
    "inverted, of truth values": (lambda mask: ~mask.bool(), "as an inverted mask|looks inverted"),
    "extended": (lambda mask: mask[None, None], r"expected attention_mask to be a mask \[batch, sequence\], got \[8, 1, 1, 7\]"),
    "causal": (lambda mask: mask[None] * mask[:, None], r"got \[8, 7, 7\]"),
    "longer": (lambda mask: torch.cat([mask, mask]), r"layer layer_00: the mask is \[8, 14\] and the output \[8, 7, 16\]"),
    "shorter": (lambda mask: mask[:3], r"the mask is \[8, 3\] and the output \[8, 7, 16\], of which 16 are features"),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_what_is_no_padding_mask_is_refused(name, tmp_path):
    change, message = MASKS[name]
    with pytest.raises(XlingValueError, match=message):
        fit_by_default(Masked(change), tmp_path, [ImpactMonitor()])


def test_an_inverted_mask_is_found_even_where_no_sentence_is_full(tmp_path):
    class Padded(Masked):
        def data(self, n=40):
            rows = super().data(n)
            for row in rows:
                for name in ("input_ids", "attention_mask", "right", "tags"):
                    fill = row["attention_mask"].new_full((3,), int(name == "attention_mask"))
                    row[name] = torch.cat([row[name], 0 * fill if name != "attention_mask" else fill])
            return rows

    with pytest.raises(XlingValueError, match="attention_mask looks inverted: it keeps token 0 alone"):
        fit_by_default(Padded(lambda mask: 1 - mask), tmp_path, [ImpactMonitor()])


def test_a_mask_that_is_not_needed_is_not_looked_at(tmp_path):
    monitor = ImpactMonitor(pooling="flatten")
    fit_by_default(Masked(lambda mask: mask * -1.0), tmp_path, [monitor])
    assert monitor.records[-1]["impact"] > 0


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_masks_of_0_and_1_of_any_type_will_do(kind, tmp_path):
    monitors = [ImpactMonitor(), ImpactMonitor()]
    for number, monitor in enumerate(monitors):
        torch.manual_seed(0)
        fit_by_default(Masked(lambda mask, n=number: mask.to(kind) if n else mask), tmp_path / str(number), [monitor])
    assert [r["impact"] for r in monitors[0].records] == [r["impact"] for r in monitors[1].records]


def test_a_module_says_itself_what_its_layers_count(tmp_path):
    class Says(Masked):
        def padding_mask(self, batch, layer):
            return None if layer == "layer_00" else batch["right"]

    module = Says(lambda mask: mask * -1.0)
    writer = RepresentationWriter(tmp_path / "rows", dtype="float32")
    fit_by_default(module, tmp_path, [writer])
    rows = load_representations(tmp_path / "rows" / "step_000010" / "0.safetensors").layers
    module.eval()
    batch = next(iter(DataLoader(module.data(26), 26)))
    with torch.no_grad():
        hidden = module.encoder(batch["input_ids"], attention_mask=batch["right"], output_hidden_states=True)[1]
    torch.testing.assert_close(rows["layer_00"], hidden[0].mean(dim=1), atol=1e-5, rtol=1e-5)
    weights = batch["right"].float()[..., None]
    torch.testing.assert_close(rows["layer_02"], (hidden[2] * weights).sum(1) / weights.sum(1), atol=1e-5, rtol=1e-5)


def test_batches_with_attributes_have_masks_too(tmp_path):
    @dataclass
    class Batch:
        input_ids: torch.Tensor
        attention_mask: torch.Tensor
        tags: torch.Tensor

        def __getitem__(self, name):
            raise TypeError("no mapping")

    class ByAttribute(Tagger):
        def loss(self, batch):
            return super().loss(vars(batch))

    def collate(rows):
        return Batch(**torch.utils.data.default_collate(rows))

    impacts = []
    for module, options in ((Tagger, {}), (ByAttribute, {"collate_fn": collate})):
        torch.manual_seed(0)
        module, monitor = module(), ImpactMonitor()
        loaders = (DataLoader(module.data(n), 8, **options) for n in (26, 40))
        fit_by_default(module, tmp_path / type(module).__name__, [monitor], *loaders)
        impacts.append([record["impact"] for record in monitor.records])
    assert impacts[0] == impacts[1]


def test_the_first_token_must_not_be_padding(tmp_path):
    class PadsLeft(Tagger):
        def data(self, n=40):
            return [{name: value.flip(0) for name, value in row.items()} for row in super().data(n)]

    with pytest.raises(XlingValueError, match="layer layer_00: its first position is padding in some rows"):
        fit_by_default(PadsLeft(), tmp_path, [ImpactMonitor(pooling="cls")])


class Translator(Stranger):
    """An encoder-decoder whose two sides are equally long, so that no size tells one mask from the other."""

    def __init__(self):
        super().__init__()
        self.model = T5Model(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))

    def loss(self, batch):
        self.forwards += 1
        names = ("input_ids", "attention_mask", "decoder_input_ids")
        return self.model(**{name: batch[name] for name in names})[0].square().mean()

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        masks = [(torch.arange(6) < torch.randint(2, 7, (n, 1), generator=generator)).long() for _ in range(2)]
        ids = [torch.randint(1, 20, (n, 6), generator=generator) * mask for mask in masks]
        names = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
        return [dict(zip(names, row, strict=True)) for row in zip(ids[0], masks[0], ids[1], masks[1], strict=True)]


def test_a_decoder_is_averaged_over_its_own_mask(tmp_path):
    module = Translator()
    rows = stored(module, tmp_path, "model.decoder.block.0", DataLoader(module.data(26), 8), feature_axis=-1)
    module.eval()
    batch = next(iter(DataLoader(module.data(26), 26)))
    kept = []
    module.model.decoder.block[0].register_forward_hook(lambda _, __, output: kept.append(output[0]))
    with torch.no_grad():
        module.loss(batch)
    weights = batch["decoder_attention_mask"].float()[..., None]
    torch.testing.assert_close(rows, (kept[0] * weights).sum(1) / weights.sum(1), atol=1e-5, rtol=1e-5)


def test_a_decoder_is_not_averaged_over_the_encoders_mask(tmp_path):
    class NoMask(Translator):
        def data(self, n=40):
            rows = super().data(n)
            return [{name: row[name] for name in row if name != "decoder_attention_mask"} for row in rows]

    with pytest.raises(
        XlingValueError, match=r"layer model.decoder.block.0 is in the decoder.*padding_mask\(batch, layer\)"
    ):
        fit_by_default(NoMask(), tmp_path, [ImpactMonitor(["model.decoder.block.0"], feature_axis=-1)])


def test_the_mean_itself_refuses_other_shapes_and_masks():
    with pytest.raises(XlingValueError, match=r"expected 2 to 4 axes to average over, got \[2, 3, 4, 5, 6\]"):
        masked_mean(torch.zeros(2, 3, 4, 5, 6))
    with pytest.raises(XlingValueError, match=r"the mask is \[2, 4\] and the hidden states are \[2, 3, 5\]"):
        masked_mean(torch.zeros(2, 3, 5), torch.ones(2, 4))


def largest(hidden_states, mask):
    """A pooling of somebody's own."""
    return hidden_states.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)


@pytest.mark.parametrize("pooling", [largest, "test_foreign_outputs:largest"])
def test_a_pooling_of_ones_own_gets_the_layer_and_its_mask(pooling, tmp_path):
    module = Masked()
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
            fit_by_default(Masked(), tmp_path, [ImpactMonitor(pooling=give)])
    maps = Any(nn.Conv2d(3, 4, 3), (3, 9, 9))
    rows = stored(maps, tmp_path / "maps", pooling=lambda h, mask: h.amax(dim=(2, 3)))
    torch.testing.assert_close(rows, outputs(maps).amax(dim=(2, 3)))


@dataclass
class Named:
    hidden: torch.Tensor


class Gives(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.linear, self.give = nn.Linear(3, 4), give

    def forward(self, x):
        return self.give(self.linear(x))


REFUSED = {
    "dict": (lambda h: {"hidden": h}, "got a dict"),
    "dataclass": (Named, "got a Named"),
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
        fit_by_default(Any(Gives(give), (3,)), tmp_path, [ImpactMonitor("layer")])


@pytest.mark.parametrize("give", [lambda h: h, lambda h: (h, None), lambda h: [h], lambda h: BaseModelOutput(h)])
def test_a_tensor_or_what_begins_with_one_is_read(give, tmp_path):
    module = Any(Gives(give), (3,))
    torch.testing.assert_close(stored(module, tmp_path, feature_axis=-1), _first_tensor(outputs(module)))
