import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from xling.analysis.restoration import RESTORED, TREND, compute_trend
from xling.errors import XlingValueError
from xling.restore import compute_restorations, restore_layers

TARGETS = ("en", "de", "ru", "hi", "sw", "zh")
DISTANCE = dict(zip(TARGETS, (0.0, 0.2, 0.4, 0.6, 0.9, 1.0), strict=True))


def make_states() -> tuple[dict, dict]:
    def state() -> dict:
        net = nn.ModuleDict({f"layer_{i}": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for i in (1, 2, 10)})
        return net.state_dict()

    torch.manual_seed(0)
    return state(), state()


def test_full_weight_restores_the_base_bit_for_bit_and_no_weight_changes_nothing():
    finetuned, base = make_states()
    for name, tensor in restore_layers(finetuned, base, ["layer_1"], 1.0).items():
        assert torch.equal(tensor, (base if name.startswith("layer_1.") else finetuned)[name]), name
    for name, tensor in restore_layers(finetuned, base, ["layer_1", "layer_2"], 0.0).items():
        assert torch.equal(tensor, finetuned[name]), name


def test_a_prefix_ends_at_a_module_boundary():
    finetuned, base = make_states()
    restored = restore_layers(finetuned, base, ["layer_1"])
    assert torch.equal(restored["layer_10.0.weight"], finetuned["layer_10.0.weight"])


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.9])
def test_interpolation_is_the_weighted_mean(weight):
    finetuned, base = make_states()
    name = "layer_2.0.weight"
    expected = weight * base[name].double() + (1 - weight) * finetuned[name].double()
    restored = restore_layers(finetuned, base, ["layer_2"], weight)
    assert torch.allclose(restored[name].double(), expected, atol=1e-7)
    assert restored[name].dtype == torch.float32


def test_nested_prefixes_interpolate_once_and_inputs_stay_as_they_are():
    finetuned, base = make_states()
    before = {name: tensor.clone() for name, tensor in finetuned.items()}
    once = restore_layers(finetuned, base, ["layer_2"], 0.5)
    twice = restore_layers(finetuned, base, ["layer_2", "layer_2.0"], 0.5)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert all(torch.equal(finetuned[name], before[name]) for name in before)


def test_half_precision_and_integer_buffers_keep_their_type():
    finetuned = {"a.w": torch.ones(2, dtype=torch.bfloat16), "a.position_ids": torch.arange(2)}
    base = {"a.w": torch.zeros(2, dtype=torch.bfloat16), "a.position_ids": torch.arange(2)}
    restored = restore_layers(finetuned, base, ["a"], 0.5)
    assert restored["a.w"].dtype == torch.bfloat16
    assert restored["a.w"].tolist() == [0.5, 0.5]
    assert restored["a.position_ids"].tolist() == [0, 1]


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(XlingValueError, match="between 0 and 1"):
        restore_layers(*make_states(), ["layer_1"], weight)


def test_a_prefix_without_weights_is_refused():
    with pytest.raises(XlingValueError, match="no weights below 'layer_3'"):
        restore_layers(*make_states(), ["layer_3"])


def test_a_base_of_another_shape_or_without_the_layer_is_refused():
    finetuned, base = make_states()
    with pytest.raises(
        XlingValueError, match=r"layer_1.0.weight of shape \[3, 3\] in the base model, found shape \[2, 3\]"
    ):
        restore_layers(finetuned, base | {"layer_1.0.weight": torch.zeros(2, 3)}, ["layer_1"])
    del base["layer_1.0.weight"]
    with pytest.raises(XlingValueError, match="found no such tensor"):
        restore_layers(finetuned, base, ["layer_1"])


def evaluate(state) -> dict[str, float]:
    """Accuracy that a large weight lowers, more so for distant languages; layer 2 alone matters."""
    return {target: 0.8 - 0.1 * (1 + far) * float(state["two.w"]) for target, far in DISTANCE.items()}


def make_table(restorations, source_language="en") -> pd.DataFrame:
    finetuned, base = ({f"{layer}.w": torch.tensor(value) for layer in ("one", "two")} for value in (1.0, 0.0))
    table = compute_restorations(finetuned, base, [["one"], ["two"]], restorations, evaluate, source_language)
    return table.assign(genetic=table["target_language"].map(DISTANCE))


def test_every_restoration_is_measured_against_the_finetuned_model():
    table = make_table([([0], 1.0), ([1], 0.5), ([0, 1], 1.0)])
    assert list(table.columns) == [*RESTORED, "genetic"]
    assert table["restored_layers"].unique().tolist() == ["", "0", "1", "0+1"]
    assert (table.loc[table["restored_layers"].isin(["", "0"]), "change"] == 0).all()
    half, whole = (table[table["restored_layers"] == name]["change"].to_numpy() for name in ("1", "0+1"))
    assert half == pytest.approx(whole / 2)
    assert whole == pytest.approx([0.1 * (1 + far) for far in DISTANCE.values()])
    assert table.loc[table["is_in_language"], "target_language"].unique().tolist() == ["en"]


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(XlingValueError, match="layer 2 does not exist: expected a whole number from 0"):
        make_table([([2], 1.0)])


def test_trend_finds_the_layer_that_hurts_distant_languages():
    trend = compute_trend(make_table([([0], 1.0), ([1], 1.0)]), ["genetic"]).set_index("restored_layers")
    assert list(trend.reset_index().columns) == list(TREND)
    assert trend.loc["1", "slope"] == pytest.approx(0.1)
    assert trend.loc["1", "pearson_r"] == pytest.approx(1)
    assert trend.loc["1", ["n_targets", "change_on_source"]].tolist() == pytest.approx([5, 0.1])
    assert trend.loc["1", "p_value"] == pytest.approx(1 / 120)  # only the order itself is as strong
    assert np.isnan(trend.loc["0", "p_value"])
    assert "same for all targets" in trend.loc["0", "reason"]


def make_noise(missing=()) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        itertools.product(("1", "2"), (1.0,), TARGETS), columns=["restored_layers", "weight", "target_language"]
    )
    table["source_language"], table["is_in_language"] = "en", table["target_language"] == "en"
    table["accuracy"], table["change"] = 0.5, rng.normal(size=len(table))
    table["genetic"] = table["target_language"].map(DISTANCE)
    table["syntactic"] = table["target_language"].map(dict(zip(TARGETS, rng.uniform(size=6), strict=True)))
    return table.assign(genetic=table["genetic"].mask(table["target_language"].isin(missing)))


def test_trend_equals_scipy_and_an_enumeration_in_plain_python():
    table = make_noise()
    trend = compute_trend(table, ["genetic", "syntactic"]).set_index(["restored_layers", "distance"])
    away = table[~table["is_in_language"]]
    strongest = []
    sets = {name: group["change"].to_numpy() for name, group in away.groupby("restored_layers")}
    far = {kind: away[away["restored_layers"] == "1"][kind].to_numpy() for kind in ("genetic", "syntactic")}
    for order in itertools.permutations(range(5)):
        strongest.append(
            [abs(stats.pearsonr(x[list(order)], y).statistic) for x in far.values() for y in sets.values()]
        )
    strongest = np.array(strongest)
    for i, (kind, layers) in enumerate(itertools.product(far, sets)):
        fit, row = stats.linregress(far[kind], sets[layers]), trend.loc[(layers, kind)]
        assert row[["slope", "pearson_r"]].tolist() == pytest.approx([fit.slope, fit.rvalue])
        assert row["spearman_rho"] == pytest.approx(stats.spearmanr(far[kind], sets[layers]).statistic)
        assert row["p_value"] == pytest.approx((strongest[:, i] >= abs(fit.rvalue) - 1e-9).mean())
        assert row["p_max_t"] == pytest.approx((strongest.max(axis=1) >= abs(fit.rvalue) - 1e-9).mean())


def test_a_target_without_distance_is_left_out():
    trend = compute_trend(make_noise(missing=["ru"]), ["genetic"])
    without = compute_trend(make_noise().query("target_language != 'ru'"), ["genetic"])
    assert (trend["n_targets"] == 4).all()
    columns = ["mean_change", "slope", "pearson_r", "spearman_rho", "p_value"]
    pd.testing.assert_frame_equal(trend[columns], without[columns])


def test_few_targets_give_a_reason_instead_of_a_p_value():
    trend = compute_trend(make_noise(missing=["ru", "hi"]), ["genetic"])
    assert trend["p_value"].isna().all()
    assert trend["pearson_r"].notna().all()
    assert trend["reason"].str.contains("at least 4").all()


def test_a_distance_that_is_missing_everywhere_gives_a_reason():
    trend = compute_trend(make_noise(missing=TARGETS), ["genetic", "syntactic"]).set_index("distance")
    assert trend.loc["genetic", ["slope", "p_value"]].isna().all(axis=None)
    assert trend.loc["genetic", "reason"].str.contains("0 targets with a distance").all()
    assert trend.loc["syntactic", "p_value"].notna().all()


def test_the_finetuned_model_alone_has_no_trend():
    assert compute_trend(make_table([]), ["genetic"]).empty
