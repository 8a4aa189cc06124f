"""Sections on interventions and on the steps of training."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from test_interventions_comparison import make_study
from test_trajectory import make_runs

from xling.analysis.questions.interventions import compute_causes, compute_interventions
from xling.analysis.questions.trajectory import EARLY, compute_half_times, compute_over_time, compute_trajectory
from xling.analysis.schema import Analysis
from xling.report.section import Absent
from xling.report.sections.interventions import interventions_section, plot_interventions
from xling.report.sections.trajectory import (
    describe_half_times,
    plot_half_times,
    plot_over_time,
    plot_trajectory,
    trajectory_section,
)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def intervened() -> Analysis:
    transfer, impact, distances, runs = make_study()
    own = (transfer, impact, distances)
    tables = {
        "interventions": compute_interventions(*own, runs, "none"),
        "cause": compute_causes(*own, ["genetic"], runs, "none"),
    }
    return Analysis(tables, facts={"strategy": "none"})


def over_time() -> Analysis:
    transfer, impact, distances = make_runs(noise=0.01)
    tables = {
        "trajectory": compute_trajectory(transfer, impact),
        "half_times": compute_half_times(impact),
        "coefficients_over_time": compute_over_time(transfer, impact, distances, ["genetic"]),
    }
    return Analysis(tables)


def test_the_section_on_interventions_states_changes_effects_and_assumptions():
    section = interventions_section(intervened())
    text = " ".join(section.paragraphs)
    assert "exclusion" in text
    assert "pairs of treatment and layer the doses allow an interval" in text
    assert any(point.startswith("layers_1 against revert_1: mean target score falls") for point in section.points)
    assert [sheet.name for sheet in section.sheets] == ["interventions", "cause"]


def test_every_comparison_has_its_point():
    table = intervened().tables["interventions"]
    ax = plot_interventions(table)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [
        "anchor 2, dose 0.1", "freeze 1", "revert 1, dose 1", "revert 1, dose 0.5", "freeze 1 against revert 1, dose 1",
    ]  # fmt: skip
    points = [line for line in ax.lines if line.get_marker() in "o^sDvPX"]
    drawn = {labels[int(line.get_ydata()[0])]: line.get_xdata()[0] for line in points}
    rows = table[table["metric"] == "mean_target_score"].set_index(["strategy", "reference"])["change"]
    assert drawn["freeze 1 against revert 1, dose 1"] == rows[("layers_1", "revert_1")]
    assert drawn["anchor 2, dose 0.1"] == rows[("anchor_2_0.1", "none")]


def test_strategies_that_kind_layers_and_dose_do_not_tell_apart_bear_their_own_names():
    table = intervened().tables["interventions"]
    twin = table[table["strategy"] == "anchor_2_0.1"].assign(strategy="anchor_2_0.1_cka")
    labels = [label.get_text() for label in plot_interventions(pd.concat([table, twin])).get_yticklabels()]
    assert {"anchor_2_0.1", "anchor_2_0.1_cka", "freeze 1"} <= set(labels)


def test_a_metric_that_one_strategy_lacks_leaves_its_row_empty():
    table = intervened().tables["interventions"]
    table = table[(table["strategy"] != "anchor_2_0.1") | (table["metric"] != "impact_treated")]
    ax = plot_interventions(table, metric="impact_treated")
    assert len(ax.get_yticklabels()) == 5
    assert sorted({int(line.get_ydata()[0]) for line in ax.lines if line.get_marker() in "o^sDvPX"}) == [1, 2, 3, 4]


def test_the_section_on_time_names_the_first_and_the_last_layer():
    section = trajectory_section(over_time())
    assert "Layer 2 has made half of its way first, at step 10" in " ".join(section.paragraphs)
    assert [picture.name for picture in section.pictures] == ["trajectory", "half_times", "early_impact"]
    assert describe_half_times(over_time().tables["half_times"].assign(half_time=float("nan"))).startswith("No layer")


def test_lines_over_time_are_those_of_the_tables():
    tables = over_time().tables
    table = tables["trajectory"]
    lines = plot_trajectory(table).lines
    rows = table.query("quantity == 'impact' and target_language == '' and layer_label == '02'").sort_values("step")
    assert lines[1].get_ydata().tolist() == rows["mean"].tolist()
    ax = plot_half_times(tables["half_times"])
    mean = tables["half_times"].query("target_language == ''")
    assert ax.lines[1].get_ydata().tolist() == mean["half_time"].tolist()
    early = plot_over_time(tables["coefficients_over_time"], EARLY, "impact")
    own = tables["coefficients_over_time"].query("analysis == @EARLY and layer_label == '01'").sort_values("step")
    assert early.lines[0].get_ydata().tolist() == own["r"].tolist()


def test_studies_without_interventions_or_steps_say_why_there_is_no_section():
    assert "xling-restore" in interventions_section(Analysis({})).reason
    assert "at least three validations" in trajectory_section(Analysis({})).reason
    none = intervened().tables["interventions"].assign(change=float("nan"))
    assert isinstance(interventions_section(Analysis({"interventions": none})), Absent)
