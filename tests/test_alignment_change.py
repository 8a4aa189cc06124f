"""Alignment before and after fine-tuning: the table and what the report says of it."""

import pytest
from analysis_factory import make_alignment

from xling.analysis.questions.alignment import ALIGNMENT_CHANGE, compute_alignment
from xling.analysis.schema import Analysis
from xling.report.section import Absent
from xling.report.sections.alignment import alignment_section, draw_alignment


def test_change_is_the_last_validation_against_before_training_averaged_over_seeds():
    table = compute_alignment(make_alignment())
    assert list(table.columns) == list(ALIGNMENT_CHANGE)
    row = table[(table["source_language"] == "en") & (table["target_language"] == "sw") & (table["layer"] == 2)].iloc[0]
    assert (row["n_seeds"], row["n_examples"], row["reason"]) == (2, 30, "")
    assert row["before"] == pytest.approx(0.9)
    assert row["after"] == pytest.approx(0.9 - 0.4 + 0.005)
    assert row["change"] == pytest.approx(row["after"] - row["before"])


def test_an_earlier_validation_can_be_chosen():
    table = compute_alignment(make_alignment(seeds=(1,)), step=5)
    assert table.loc[table["layer"] == 2, "change"].to_numpy() == pytest.approx(-0.2)


def test_alignment_measured_before_training_only_has_no_change():
    alignment = make_alignment()
    assert compute_alignment(alignment[alignment["step"] == 0]).empty


def analysis_of(alignment):
    return Analysis({"alignment": compute_alignment(alignment)}, facts={"strategy": "none"})


def test_the_section_states_where_similarity_changes_most():
    section = alignment_section(analysis_of(make_alignment(seeds=(1,))))
    assert "most at layer 2, from .90 to .50" in section.paragraphs[0]
    assert section.sheets[0].name == "alignment"


def test_loaders_that_are_not_parallel_are_absent_with_their_reason():
    section = alignment_section(analysis_of(make_alignment(reason="3 example ids are not among those of en")))
    assert isinstance(section, Absent)
    assert "3 example ids are not among those of en" in section.reason


def test_every_source_has_a_panel_with_two_lines():
    figure = draw_alignment(compute_alignment(make_alignment()))
    assert [len(ax.lines) for ax in figure.axes] == [2, 2]
