"""Where a change sits: in a few directions, in a few groups, or everywhere."""

import math

import pandas as pd
import pytest
import torch

import xling.analysis.questions.concentration as analysis_of_concentration
import xling.similarity.concentration as measure_of_concentration
from xling.analysis.questions.concentration import CONCENTRATION, compute_concentration
from xling.analysis.schema import Analysis
from xling.commands.train import train
from xling.report.sections.concentration import concentration_section
from xling.similarity import linear_cka
from xling.similarity.concentration import concentration, joint_components

GROUPS = torch.arange(600) // 3


@pytest.fixture(scope="module")
def base():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(200, 1, 24, generator=generator) + 0.5 * torch.randn(200, 3, 24, generator=generator)
    return shared.flatten(0, 1) * torch.linspace(1.5, 0.5, 24)


def direction(length):
    return length * torch.nn.functional.normalize(torch.randn(24, generator=torch.Generator().manual_seed(1)), dim=0)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_translation_of_a_subset_is_one_direction(share, base):
    y = base + 12 * (share * 200 > GROUPS)[:, None] * direction(1.0)
    found = concentration(base, y, GROUPS)
    assert found.impact > 0.3
    assert found.component_1 > 0.95
    assert found.component_3 > 0.95
    assert found.top_groups < 0.3


def test_a_rotation_is_no_change(base):
    rotation = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(2))).Q
    found = concentration(base, 3 * base @ rotation + 5, GROUPS)
    assert abs(found.impact) < 1e-5
    assert math.isnan(found.component_1)
    assert math.isnan(found.component_3)
    assert math.isnan(found.top_groups)


def test_a_rotation_after_the_change_changes_no_share(base):
    rotation = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(2))).Q
    y = base + 12 * (GROUPS < 60)[:, None] * direction(1.0)
    plain, turned = concentration(base, y, GROUPS), concentration(base @ rotation, 2 * y @ rotation.mT + 1, GROUPS)
    assert vars(turned) == pytest.approx(vars(plain), abs=1e-3)


def test_a_change_of_the_whole_space_is_neither_few_directions_nor_few_groups(base):
    noise = torch.randn(600, 24, generator=torch.Generator().manual_seed(3))
    found = concentration(base, base + noise, GROUPS)
    assert found.impact > 0.3
    assert found.component_1 < 0.3
    assert found.component_3 < 0.4
    assert found.top_groups < 0.1


def test_two_groups_far_away_are_a_few_groups(base):
    y = base.clone()
    y[GROUPS < 2] += 60 * torch.randn(6, 24, generator=torch.Generator().manual_seed(4))
    found = concentration(base, y, GROUPS)
    assert found.impact > 0.3
    assert found.top_groups > 0.95


def test_shares_are_those_of_a_recomputation_without_one_and_without_three_components(base):
    generator = torch.Generator().manual_seed(6)
    x = base.double()
    y = x + 8 * (GROUPS < 60)[:, None] * torch.randn(24, generator=generator).double()
    y += 8 * (GROUPS >= 140)[:, None] * torch.randn(24, generator=generator).double()
    found = concentration(x, y, GROUPS)
    sides = [side - side.mean(0) for side in (x, y)]
    scores = torch.linalg.svd(torch.cat([side / side.norm() for side in sides], 1), full_matrices=False).U

    def share(k):
        rest = [side - scores[:, :k] @ (scores[:, :k].mT @ side) for side in sides]
        return float(1 - (1 - linear_cka(*rest, debiased=True, groups=GROUPS)) / found.impact)

    assert found.component_1 == pytest.approx(share(1), abs=1e-6)
    assert found.component_3 == pytest.approx(share(3), abs=1e-6)
    assert abs(share(1) - share(2)) > 0.01


@pytest.mark.parametrize("n", [600, 30])
def test_joint_components_are_orthonormal_and_the_leading_ones(n, base):
    x, y = base[:n] - base[:n].mean(0), 2 * (base[:n] - base[:n].mean(0))
    found = joint_components(x.double(), y.double(), 3)
    torch.testing.assert_close(found.mT @ found, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)
    expected = torch.linalg.svd(x.double(), full_matrices=False).U[:, :3]
    torch.testing.assert_close((found.mT @ expected).abs(), torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)


def impact_rows(**columns):
    keys = {"study": "s", "source_language": "en", "target_language": "de", "strategy": "none", "seed": 1}
    return pd.DataFrame([keys | {"epoch": 1.0, "step": 10, "layer": layer} | columns for layer in range(2)])


SHARES = ("share_component_1", "share_component_3", "share_top_groups")


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ((0.9, 0.95, 0.1), "a few directions"),
        ((0.2, 0.6, 0.1), "a few directions"),
        ((0.9, math.nan, 0.1), "a few directions"),
        ((0.9, 0.9, 0.7), "a few groups"),
        ((0.1, 0.2, 0.05), "the whole space"),
        ((math.nan, math.nan, math.nan), "no change"),
    ],
)
def test_every_layer_is_told_what_its_impact_is(shares, kind):
    impact = 0.0 if kind == "no change" else 0.4
    found = compute_concentration(impact_rows(impact=impact, **dict(zip(SHARES, shares, strict=True))))
    assert list(found.columns) == list(CONCENTRATION)
    assert found["carried_by"].tolist() == [kind, kind]


def test_without_shares_there_is_nothing_to_tell():
    assert compute_concentration(impact_rows(impact=0.4)).empty


def test_the_analysis_knows_no_change_as_the_measure_does():
    assert analysis_of_concentration.NO_CHANGE == measure_of_concentration.NO_CHANGE


def test_a_run_without_shares_beside_one_with_them_is_not_told_to_be_without_change():
    with_shares = impact_rows(impact=0.4, **dict.fromkeys(SHARES, 0.1))
    found = compute_concentration(pd.concat([with_shares, impact_rows(impact=0.4).assign(target_language="fr")]))
    assert found["target_language"].unique().tolist() == ["de"]


def test_a_run_records_the_shares_and_the_report_tells_them(make_config):
    run = train(make_config("probe=warranty", "source_language=de"))
    assert (run.path / "linear_probes.parquet").is_file()
    impact = pd.read_parquet(run.path / "impact.parquet")
    assert {"cka_grouped", "procrustes"} <= set(impact["measure"])
    main = impact[(impact["measure"] == "cka_grouped") & (impact["step"] > 0)]
    assert main[["share_component_1", "share_component_3", "share_top_groups"]].le(1).all(axis=None)
    table = compute_concentration(main)
    assert set(table["layer"]) == set(main["layer"])
    large = table.assign(impact=0.4, carried_by="a few directions", strategy="none")
    section = concentration_section(Analysis({"concentration": large}, facts={"strategy": "none"}))
    assert "it is a few directions in 12" in section.paragraphs[0]
    assert "de→" in section.paragraphs[0]
    small = concentration_section(Analysis({"concentration": large.assign(impact=0.0)}, facts={"strategy": "none"}))
    assert "No layer has an impact of 0.05 or more" in small.paragraphs[0]
    assert "no shares were measured" in concentration_section(Analysis({}, facts={"strategy": "none"})).reason
