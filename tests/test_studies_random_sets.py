"""The three chosen sets of layers among the published random ones."""

import numpy as np
import pytest

from studies.comparisons import HERE, STUDY
from studies.random_sets import FIRST_HALF, JUDGED, NAMES, OTHERS, PACK, draw_sets, judge_sets
from studies.treatments import BASELINE
from xling.analysis.inputs.gather import gather_study
from xling.analysis.questions.random_sets import sets_needed
from xling.interventions.layer_shares import parse_shares
from xling.training.restoring import draw_restorations


@pytest.fixture(scope="module")
def judged():
    return judge_sets(gather_study(HERE / f"{STUDY}.xling"))


def _on_others(judged):
    return judged["changes"][judged["changes"]["metric"] == OTHERS]


def test_both_treatments_have_the_same_sets_and_enough_of_them(judged):
    changes = judged["changes"]
    drawn = [frozenset(each.shares) for each in draw_restorations(12, 3, sets_needed())]
    for _, own in changes[changes["is_random"]].groupby(["kind", "source_language", "metric"]):
        assert len(own) == len(set(own["layers"])) == len(drawn)
    assert set(changes.loc[~changes["is_random"], "layers"]) == set(NAMES)
    by_kind = changes.groupby("kind")["layers"].unique().map(set)
    assert by_kind["freeze"] == by_kind["revert"]


def test_no_set_is_judged_on_sources_that_had_the_choice(judged):
    assert not set(judged["changes"]["source_language"]) & set(FIRST_HALF)
    assert judged["suggested"] == []  # else the chosen set would not be the paper's


def test_a_change_is_the_difference_of_mean_scores_of_two_runs(judged):
    transfer = gather_study(PACK).transfer
    transfer = transfer[(transfer["source_language"] == "zh") & (transfer["step"] > 0)]
    others = transfer[transfer["target_language"] != "zh"].groupby("strategy")["score"].mean()
    frozen, reverted = others["layers_10_11_12_word_embeddings"], others["word_embeddings_revert_10-12"]
    own = _on_others(judged).query("layers == '10-12' and source_language == 'zh'").set_index("kind")["change"]
    assert own["freeze"] == pytest.approx(frozen - others[BASELINE])
    assert own["revert"] == pytest.approx(reverted - others[BASELINE])


@pytest.mark.parametrize("metric", JUDGED)
def test_the_p_value_is_the_place_among_the_random_sets(judged, metric):
    changes = judged["changes"][judged["changes"]["metric"] == metric]
    for treatment, kind in zip(judged["treatments"], ("revert", "freeze"), strict=True):
        means = changes[changes["kind"] == kind].groupby(["layers", "is_random"])["change"].mean().reset_index()
        drawn = means.loc[means["is_random"], "change"].to_numpy()
        assert treatment["random"][metric]["mean"] == pytest.approx(drawn.mean())
        for layers, found in zip(NAMES, treatment["sets"], strict=True):
            own = means.loc[means["layers"] == layers, "change"].item()
            values = np.append(drawn, own)
            distance = np.abs(values - values.mean())
            assert found[metric]["p_rank"] == pytest.approx((distance >= distance[-1] - 1e-12).mean())
            assert found[metric]["change"] == pytest.approx(own)


def test_freezing_and_reverting_are_correlated_over_sets_of_the_same_source(judged):
    own = _on_others(judged).query("source_language == 'zh'")
    sides = [own[own["kind"] == kind].set_index("layers")["change"].sort_index() for kind in ("freeze", "revert")]
    assert judged["n_agreeing"] == len(sides[0])
    assert judged["agreement"] == pytest.approx(np.corrcoef(*sides)[0, 1])


def test_depth_is_the_correlation_with_the_mean_layer_among_layers_numbered_at_random(judged):
    own = _on_others(judged)
    for treatment, kind in zip(judged["treatments"], ("revert", "freeze"), strict=True):
        means = own[own["kind"] == kind].groupby("layers")["change"].mean()
        sets = [list(parse_shares(layers)) for layers in means.index]
        generator = np.random.default_rng(5)
        numberings = [np.arange(13), *(np.append(0, generator.permutation(12)) for _ in range(2000))]
        found = [np.corrcoef([numbers[layers].mean() for layers in sets], means)[0, 1] for numbers in numberings]
        assert treatment["depth"]["r"] == pytest.approx(found[0])
        assert treatment["depth"]["p"] == pytest.approx((np.abs(found) >= abs(found[0])).mean(), abs=0.03)
        assert treatment["n_gaining"] == (means > 0).sum()


def test_the_figure_has_a_row_for_each_treatment_and_source(judged):
    figure = draw_sets(judged["changes"])
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "change of source score",
        "change of mean target score",
        "change of transfer gap",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "reverted, sw",
        "reverted, zh",
        "frozen, zh",
    ]
    drawn, *chosen = figure.axes[0].get_lines()[:-1]
    assert len(drawn.get_xdata()) == 3 * sets_needed()
    assert [len(line.get_xdata()) for line in chosen] == [3] * len(NAMES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["random sets", *NAMES.values()]
