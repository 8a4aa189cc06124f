"""Impact by further poolings in the same passes: training as without, numbers as of a run with that pooling."""

import pandas as pd
import pytest

from xling.analysis.inputs.gather import add_distances, gather_studies
from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.pipeline import analyse
from xling.commands.train import train
from xling.distances import compute_distances
from xling.errors import XlingValueError
from xling.runs.study import load_study

KEYS = ["target_language", "step", "layer", "measure"]
ONCE = ("trainer.max_epochs=1", "probe.similarity=[svcca]", "probe.uncertainty=[]")


def by_key(impact: pd.DataFrame) -> pd.Series:
    return impact.set_index(KEYS)["impact"].sort_index()


def test_each_pooling_gives_the_impact_of_a_run_with_it_alone_and_training_is_the_same(make_config):
    overrides = {
        "both": ["probe.pooling=mean", "probe.further_poolings=[cls]"],
        "mean": ["probe.pooling=mean"],
        "cls": ["probe.pooling=cls"],
    }
    runs = {name: load_study(train(make_config(*ONCE, *own, f"study={name}")).path) for name, own in overrides.items()}
    both = runs["both"].impact
    is_cls = both["measure"].str.endswith("@cls")
    named = both[is_cls].assign(measure=both["measure"].str.removesuffix("@cls"))
    assert set(named["measure"]) == {"cka_grouped", "cka_debiased", "cka_biased", "svcca"}
    pd.testing.assert_series_equal(by_key(both[~is_cls]), by_key(runs["mean"].impact))
    pd.testing.assert_series_equal(by_key(named), by_key(runs["cls"].impact))
    assert not by_key(named).equals(by_key(both[~is_cls]))
    scores = [runs[name].transfer["score"].to_list() for name in overrides]
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize("names", ["[mean]", "[cls,cls]"])
def test_a_pooling_named_twice_is_refused(names, make_config):
    with pytest.raises(
        XlingValueError, match=r"expected probe.further_poolings to name poolings beside probe.pooling=mean"
    ):
        train(make_config("probe.pooling=mean", f"probe.further_poolings={names}"))


def test_poolings_are_a_dimension_of_the_specification_curve(make_config, tmp_path):
    for source in ("en", "de", "sw"):
        train(make_config(*ONCE, f"source_language={source}", "probe.pooling=mean", "probe.further_poolings=[cls]"))
    measured = next(iter(gather_studies([tmp_path])[0].values()))
    measured = add_distances(measured, lambda languages: compute_distances(["genetic", "geographic"], languages))[0]
    tables = analyse(measured, Settings("default", resampling=Resampling(20, 10))).tables
    curve = tables["specifications"]
    assert set(curve.loc[curve["question"] == "impact", "pooling"]) == {"mean", "cls"}
    assert set(curve.loc[curve["question"] == "transfer", "pooling"]) == {""}
    counts = curve[curve["question"] == "impact"].groupby("pooling").size()
    assert counts["mean"] == counts["cls"]
    assert "cka_grouped@cls" in set(tables["correlations_measures"]["measure"])
