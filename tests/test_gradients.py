"""Gradients of source and targets, per layer."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from strangers import Tagger, fit

from xling.analysis.inputs.measurements import Resampling
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.questions.gradients import GRADIENTS, compute_gradients, with_first_cosine
from xling.analysis.questions.ranking import compute_ranking
from xling.analysis.schema import Analysis
from xling.callbacks import GradientMonitor
from xling.commands.train import train
from xling.errors import XlingValueError
from xling.models.layers import layer_parameters
from xling.probing.gradients import GradientSums, example_gradients, one_example
from xling.report.sections.gradients import gradients_section
from xling.runs.study import load_study
from xling.training.finished import load_run


def test_example_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    module = Tagger().eval()
    batch = next(iter(torch.utils.data.DataLoader(module.data(5), batch_size=5)))
    layers = [[p for _, p in layer_parameters(module, layer)] for layer in range(3)]
    found = example_gradients(module.loss, batch, 4, layers)
    assert len(found) == 4
    for index, layer in ((0, 0), (3, 2)):
        module.zero_grad()
        module.loss({name: part[index : index + 1] for name, part in batch.items()}).backward()
        expected = torch.cat([p.grad.flatten() for p in layers[layer]])
        assert torch.allclose(found[index][layer], expected, atol=1e-7)


def test_sums_give_norm_cosine_and_fisher_trace():
    gradients = {
        name: torch.tensor(rows)
        for name, rows in {"a": [[3.0, 0.0], [1.0, 0.0]], "b": [[0.0, 2.0], [2.0, 2.0]]}.items()
    }
    sums = {}
    for name, rows in gradients.items():
        sums[name] = GradientSums()
        for row in rows:
            sums[name].add([row])
    (row,) = sums["b"].measures(sums["a"])
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm([1, 2]))
    assert row["fisher_trace"] == pytest.approx((4 + 8) / 2)
    assert row["gradient_cosine"] == pytest.approx(2 / np.linalg.norm([2, 4]))
    assert sums["a"].measures(sums["a"])[0]["gradient_cosine"] == pytest.approx(1)
    still = GradientSums()
    still.add([torch.zeros(2)])
    assert np.isnan(still.measures(sums["a"])[0]["gradient_cosine"])


def test_one_example_keeps_the_kind_of_a_batch():
    x = torch.arange(6).reshape(3, 2)
    assert one_example((x, [x]), 1)[1][0].tolist() == [[2, 3]]
    assert one_example({"a": x, "name": "b"}, 2) == {"a": pytest.approx(x[2:]), "name": "b"}


def test_a_runs_gradients_are_those_of_its_model(make_config):
    path = train(make_config("probe.gradients=4", "trainer.max_epochs=1", "model.dropout=off")).path
    table = pd.read_parquet(path / "gradients.parquet")
    assert set(table["target_language"]) == {"en", "de", "sw"}
    assert (table["n_examples"] == 4).all()
    assert table.loc[table["is_in_language"], "gradient_cosine"].to_numpy() == pytest.approx(1)
    run = load_run(path)
    run.module.load_state_dict(run.finetuned)
    run.module.eval()
    loaders = run.datamodule.val_dataloader()
    mean = {}
    for language in ("en", "sw"):
        batch = {name: part[:4] for name, part in next(iter(loaders[language])).items()}
        run.module.zero_grad()
        total, _ = run.module.loss(batch)
        total.backward()
        mean[language] = torch.cat([p.grad.flatten() for _, p in layer_parameters(run.module, 2)]) / 4
    row = table[(table["target_language"] == "sw") & (table["layer"] == 2)].iloc[0]
    assert row["gradient_norm"] == pytest.approx(float(mean["sw"].norm()), rel=1e-4)
    cosine = float(torch.nn.functional.cosine_similarity(mean["sw"], mean["en"], dim=0))
    assert row["gradient_cosine"] == pytest.approx(cosine, abs=1e-4)
    study = load_study(path)
    assert len(study.gradients) == len(table)
    assert load_study(train(make_config("trainer.max_epochs=1", "study=plain")).path).gradients.empty


def test_gradients_leave_training_as_it_is(make_config, tmp_path):
    paths = [train(make_config("trainer.max_epochs=1", *more, f"output_dir={tmp_path}/{i}")).path for i, more in enumerate(
        ([], ["probe.gradients=2"])
    )]  # fmt: skip
    impact = [pd.read_parquet(path / "impact.parquet") for path in paths]
    pd.testing.assert_frame_equal(*impact)


def test_what_does_not_fit_is_refused(make_config, tmp_path):
    with pytest.raises(XlingValueError, match="expected n_examples of at least 1, got 0"):
        GradientMonitor("en", 0)
    with pytest.raises(XlingValueError, match="which is not among the target languages"):
        train(make_config("probe.gradients=2", "target_languages=[de,sw]"))
    with pytest.raises(XlingValueError, match="expected the reference loader '1' first, found '0'"):
        fit("tagger", tmp_path, [GradientMonitor("1")], n_val_loaders=2)


@pytest.fixture(scope="module")
def made_up():
    """Five languages, all pairs, two seeds, two steps, two layers; the cosine at layer 1 and step 5 is the score itself."""
    rng = np.random.default_rng(0)
    rows, scores = [], []
    for source, target, seed in itertools.product("abcde", "abcde", (1, 2)):
        key = {"study": "s", "source_language": source, "target_language": target, "strategy": "none", "seed": seed}
        key |= {"epoch": 1.0, "is_in_language": source == target}
        scores.append(key | {"step": 9, "metric": "accuracy", "score": rng.uniform(), "n_examples": 4})
        for step, layer in itertools.product((5, 9), (1, 2)):
            values = {name: rng.uniform() for name in ("gradient_cosine", "gradient_norm", "fisher_trace")}
            if (step, layer) == (5, 1):
                values["gradient_cosine"] = scores[-1]["score"]
            rows.append(key | {"step": step, "layer": layer, "n_examples": 4} | values)
    return pd.DataFrame(rows), pd.DataFrame(scores)


RESAMPLING = Resampling(permutations=200, bootstraps=50)


def test_gradients_are_set_beside_the_final_score(made_up):
    gradients, transfer = made_up
    table = compute_gradients(gradients, transfer, RESAMPLING)
    assert list(table.columns) == list(GRADIENTS)
    rows = table.set_index(["measure", "step", "layer_label"])
    assert len(rows) == 3 * 2 * 3  # measures, steps, two layers and their mean
    keys = ["source_language", "target_language"]
    own = gradients.query("step == 9 and layer == 2 and not is_in_language").groupby(keys)["gradient_norm"].mean()
    score = transfer.groupby(keys)["score"].mean()[own.index]
    row = rows.loc[("gradient_norm", 9, "02")]
    assert row["pearson_r"] == pytest.approx(stats.pearsonr(own, score).statistic)
    assert (row["n_pairs"], row["mean"]) == (20, pytest.approx(own.mean()))
    exact = rows.loc[("gradient_cosine", 5, "01")]
    assert (exact["r"], exact["pearson_r"]) == (pytest.approx(1), pytest.approx(1))
    assert exact["p_max_t"] == rows["p_max_t"].min() <= 0.05
    assert rows["p_max_t"].ge(rows["p_qap"]).all()


def test_gradients_of_one_source_are_raw_and_say_so(made_up):
    one = [table.query("source_language == 'a'") for table in made_up]
    assert set(compute_gradients(*one, RESAMPLING)["main"]) == {"pearson"}


def test_runs_that_were_scored_on_their_source_alone_have_no_pair_to_compare(made_up):
    own = [table[table["is_in_language"]] for table in made_up]
    found = compute_gradients(*own, RESAMPLING)
    assert list(found.columns) == list(GRADIENTS)
    assert found.empty
    assert (
        "no gradients were taken"
        in gradients_section(Analysis(tables={"gradients": found}, warnings=[], facts={})).reason
    )


@pytest.mark.parametrize("targets", ["ab", "abc"])
def test_few_targets_have_a_reason_in_place_of_a_number(made_up, targets):
    few = [table[(table["source_language"] == "a") & table["target_language"].isin(list(targets))] for table in made_up]
    found = compute_gradients(*few, RESAMPLING)
    assert found["r"].isna().all()
    assert found["reason"].str.contains("pairs have both values, at least 3 are needed").all()


def test_every_strategy_gives_the_cosine_of_its_own_first_step(made_up):
    gradients, transfer = made_up
    later = gradients[gradients["step"] == 9].assign(strategy="frozen")
    none = pd.DataFrame(columns=["source_language", "target_language"])
    pairs = compute_pairs(pd.concat([transfer, transfer.assign(strategy="frozen")]), None, none)
    assert with_first_cosine(pairs, pd.concat([gradients, later]))["gradient_cosine"].notna().all()


def test_gradients_choose_a_source_beside_distance_and_impact(made_up):
    gradients, transfer = made_up
    pairs = compute_pairs(transfer, None, pd.DataFrame(columns=["source_language", "target_language"]))
    layers = pd.concat([pairs, *(pairs.assign(layer_label=label, layer=int(label)) for label in ("01", "02"))])
    ranking = compute_ranking(with_first_cosine(layers, gradients)).set_index(["predictor", "layer_label"])
    assert ranking.loc[("gradient_cosine", "01"), "ndcg_at_3"] == pytest.approx(1)
    assert ranking.loc[("gradient_cosine", "01"), "regret"] == pytest.approx(0)
    assert ranking.loc[("gradient_cosine", "02"), "regret"] > 0


def test_the_report_says_what_gradients_show(made_up):
    table = compute_gradients(*made_up, RESAMPLING)
    section = gradients_section(Analysis(tables={"gradients": table}, warnings=[], facts={}))
    cosine = next(text for text in section.paragraphs if text.startswith("Cosine"))
    assert "at step 5: 2 of 3 coefficients differ from 0 family-wise; strongest layer 1, r\xa0=\xa01.00" in cosine
    assert "no gradients were taken" in gradients_section(Analysis(tables={}, warnings=[], facts={})).reason
