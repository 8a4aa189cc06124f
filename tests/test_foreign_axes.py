"""Which axis of a layer's output holds the features: shown by the module, told by the user, or asked for."""

import pytest
import torch
from one_layer import OneLayer, outputs, stored
from torch import nn

from xling.errors import XlingValueError
from xling.probing.axes import FIRST, LAST, MAPS, axis_of, layout_of


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
    module = OneLayer(layer, shape)
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
        stored(OneLayer(layer, shape), tmp_path)
    module = OneLayer(layer.train(), shape)
    rows = stored(module, tmp_path, feature_axis=axis)
    torch.testing.assert_close(rows, outputs(module).mean(dim=positions), atol=1e-5, rtol=1e-5)


def test_the_users_word_counts_more_than_the_modules(tmp_path):
    module = OneLayer(nn.Linear(3, 4), (9, 3))
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
        stored(OneLayer(nn.Linear(3, 4), (9, 3)), tmp_path, feature_axis=axis)


def test_a_mask_may_say_which_axis_is_the_sequence():
    mask = torch.ones(8, 5)
    assert axis_of(None, (8, 5, 7), mask) == 2
    assert axis_of(None, (8, 7, 5), mask) == 1
    assert axis_of(None, (8, 5, 5), mask) is None
    assert axis_of(None, (8, 6, 7), mask) is None


def test_a_module_shows_its_layout_by_its_type_and_its_parts():
    assert layout_of(nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Dropout(0.1))) == LAST
    assert layout_of(nn.Sequential(nn.Linear(2, 2), nn.Flatten())) is None
    assert layout_of(nn.LSTM(2, 2)) == LAST
    assert layout_of(nn.LayerNorm([3, 4, 4])) is None
    assert layout_of(nn.MaxPool1d(2)) == FIRST
    assert layout_of(Block(Block(nn.Conv2d(1, 1, 1)))) == MAPS
    assert axis_of(MAPS, (8, 3, 9)) is None


def test_an_activation_keeps_the_axes_of_what_came_before_it(tmp_path):
    module = OneLayer(nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU()), (3, 9))
    torch.testing.assert_close(stored(module, tmp_path, "layer.1"), outputs(module).mean(dim=2))


def test_one_number_per_example_is_no_representation(tmp_path):
    module = OneLayer(Block(nn.Linear(3, 1), turn=lambda x: x.squeeze(1)), (3,))
    with pytest.raises(
        XlingValueError, match=r"layer layer: expected an output \[batch, ...\] with features, got \[8\]"
    ):
        stored(module, tmp_path)


def test_maps_have_no_first_token(tmp_path):
    module = OneLayer(nn.Conv2d(3, 4, 3), (3, 9, 9))
    with pytest.raises(
        XlingValueError, match=r"layer layer: pooling=cls needs one axis of positions, got \[8, 4, 7, 7\]"
    ):
        stored(module, tmp_path, pooling="cls")


def test_the_first_position_of_channels_over_time_is_in_time(tmp_path):
    module = OneLayer(nn.Conv1d(3, 4, 3), (3, 9))
    torch.testing.assert_close(stored(module, tmp_path, pooling="cls"), outputs(module)[:, :, 0])
