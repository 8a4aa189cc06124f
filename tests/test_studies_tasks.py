"""The published re-test beside another task, over the languages and seeds of both."""

import numpy as np
import pytest

from studies.comparisons import HERE, STUDY
from studies.tasks import compare_tasks, draw_tasks
from xling.analysis.inputs.gather import gather_study

CONTROL = "e5_small_random"  # has the shape of a task: its own runs, from three of the sources


@pytest.fixture(scope="module")
def compared():
    return compare_tasks(gather_study(HERE / f"{STUDY}.xling"), {CONTROL: "control", "never trained": "absent"})


def test_both_are_cut_to_the_languages_and_seeds_of_the_other_task(compared):
    (row,) = compared  # a task without a pack is left out
    assert [(task.name, task.n_languages, task.n_runs) for task in row["tasks"]] == [("XNLI", 3, 3), ("control", 3, 3)]
    for task, name in zip(row["tasks"], (STUDY, f"{STUDY}_{CONTROL}"), strict=True):
        scores = gather_study(HERE / f"{name}.xling").transfer
        scores = scores[
            scores["target_language"].isin(["en", "ru", "sw"]) & (scores["seed"] == 1) & (scores["step"] > 0)
        ]
        scores = scores[scores["source_language"].isin(["en", "ru", "sw"])]
        own = scores["source_language"] == scores["target_language"]
        assert (task.own, task.others) == pytest.approx((scores[own]["score"].mean(), scores[~own]["score"].mean()))


def test_agreement_and_tests_are_given_by_what_is_compared(compared):
    (row,) = compared
    assert set(row["agreement"]) == {"map", "impact", "score"}
    assert row["agreement"]["map"]["n"] == 78  # six distances at layers 0 to 12
    xnli = row["tasks"][0]
    assert xnli.with_distance("impact_vs_distance", "genetic")["layer_label"] == "mean"
    assert xnli.with_distance("transfer_vs_distance", "genetic")["n_pairs"] == 6
    assert xnli.n_coefficients == 48
    assert np.isnan(list(xnli.seeds_agree.values())).all()  # the control has one seed
    assert list(xnli.spaced["r"].round(12)) == list(xnli.tests["r"].round(12))  # en, ru and sw all have spaces


def test_the_figure_has_a_map_of_each_task_beside_that_of_xnli(compared):
    panels = [ax for ax in draw_tasks(compared).axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["XNLI, 3 languages", "control, 3 languages"]
