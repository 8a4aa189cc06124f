"""Gradients of source and targets, per layer."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from strangers import Tagger, fit

from xling.analysis.questions.gradients import GRADIENTS, compute_gradients
from xling.callbacks import GradientMonitor
from xling.commands.train import train
from xling.errors import XlingValueError
from xling.models.layers import layer_parameters
from xling.probing.gradients import GradientSums, example_gradients, one_example
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


def test_gradients_are_set_beside_the_final_score():
    rng = np.random.default_rng(0)
    rows, scores = [], []
    for source in ("en", "ru", "sw"):
        for target in ("en", "ru", "sw", "zh"):
            key = {"study": "s", "source_language": source, "target_language": target, "strategy": "none", "seed": 1}
            key |= {"epoch": 1.0, "step": 5, "is_in_language": source == target}
            scores.append(key | {"score": rng.uniform()})
            values = {name: rng.uniform() for name in ("gradient_cosine", "gradient_norm", "fisher_trace")}
            rows.append(key | {"layer": 1, "n_examples": 4} | values)
    table = compute_gradients(pd.DataFrame(rows), pd.DataFrame(scores))
    assert list(table.columns) == list(GRADIENTS)
    own = pd.DataFrame(rows).merge(pd.DataFrame(scores)).query("not is_in_language")
    row = table.set_index("measure").loc["gradient_cosine"]
    assert row["pearson_r"] == pytest.approx(stats.pearsonr(own["gradient_cosine"], own["score"]).statistic)
    assert (row["n_pairs"], row["step"], row["layer_label"]) == (9, 5, "01")
