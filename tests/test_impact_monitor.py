"""How far each layer moves: against a separate extraction, over loaders, resumed fits, measures, groups and ways to train."""

import math

import pytest
import pytorch_lightning as pl
import torch
from extraction import PREMISES, Premised, extract
from strangers import STRANGERS, Mlp, Tagger, fit, loaders, make_trainer
from torch import nn
from torch.utils.data import DataLoader

from xling.callbacks import AlignmentMonitor, ImpactMonitor, LayerFreezing
from xling.errors import MissingFileError, XlingValueError
from xling.freezing import plan_freezing
from xling.probing.representations import load_representations
from xling.probing.uncompiled import uncompiled
from xling.similarity import linear_cka


@pytest.mark.parametrize("kind", STRANGERS)
def test_impact_equals_a_separate_extraction(kind, tmp_path):
    """The slow way: run the model before and after by hand, pool, compare."""
    pl.seed_everything(3, verbose=False)
    module = STRANGERS[kind]()
    before = extract(module)
    monitor = ImpactMonitor(module.layers)
    pl.seed_everything(3, verbose=False)
    make_trainer(tmp_path, [monitor]).fit(module, *loaders(module))
    after = extract(module)
    last = [record for record in monitor.records if record["step"] == 10]
    assert len(last) == len(before)
    for record, x, y in zip(last, before, after, strict=True):
        expected = 1 - linear_cka(x.double(), y.double(), debiased=True)
        assert record["impact"] == pytest.approx(float(expected), abs=2e-6)
        assert record["impact_biased"] == pytest.approx(
            1 - float(linear_cka(x.double(), y.double(), debiased=False)), abs=2e-6
        )
        assert record["n_examples"] == 26
        assert record["impact"] > 1e-5


def test_frozen_layers_do_not_move_and_trained_ones_do(tmp_path):
    monitor = ImpactMonitor()
    fit("tagger", tmp_path, [LayerFreezing(plan_freezing("bottom_k", k=1)), monitor])
    last = {record["layer"]: record["impact"] for record in monitor.records if record["step"] == 10}
    assert last[0] == last[1] == 0.0
    assert last[2] > 1e-6


def test_several_validation_loaders_are_kept_apart(tmp_path):
    monitor = ImpactMonitor(["body.0"])
    fit("mlp", tmp_path, [monitor], n_val_loaders=2)
    assert [(r["loader"], r["step"]) for r in monitor.records] == [("0", 5), ("1", 5), ("0", 10), ("1", 10)]


@pytest.mark.filterwarnings("ignore:.*sampler has shuffling enabled.*")  # Lightning says so too
def test_a_shuffled_validation_loader_without_ids_is_refused(tmp_path):
    module = STRANGERS["mlp"]()
    shuffled = DataLoader(module.data(26), batch_size=8, shuffle=True)
    with pytest.raises(XlingValueError, match="positions do not identify rows"):
        make_trainer(tmp_path, [ImpactMonitor(module.layers)]).fit(module, loaders(module)[0], shuffled)


def test_a_module_without_an_encoder_is_asked_for_its_layers(tmp_path):
    module = STRANGERS["mlp"]()
    with pytest.raises(XlingValueError, match="name its layers"):
        make_trainer(tmp_path, [ImpactMonitor()]).fit(module, *loaders(module))
    with pytest.raises(XlingValueError, match="no module matches layers='bady"):
        make_trainer(tmp_path, [ImpactMonitor("bady.*")]).fit(module, *loaders(module))


def test_a_resumed_fit_keeps_the_base_from_before_step_0(tmp_path):
    whole = ImpactMonitor()
    fit("tagger", tmp_path / "whole", [whole])
    half = fit("tagger", tmp_path / "half", [ImpactMonitor()], max_epochs=1)
    half.trainer.save_checkpoint(tmp_path / "half.ckpt")
    module, resumed = Tagger(), ImpactMonitor()
    make_trainer(tmp_path / "half", [resumed]).fit(module, *loaders(module), ckpt_path=tmp_path / "half.ckpt")
    assert [r["step"] for r in resumed.records] == [r["step"] for r in whole.records]
    assert resumed.records[:3] == whole.records[:3]
    assert all(record["impact"] > 1e-6 for record in resumed.records)


def test_a_resumed_fit_without_its_base_says_so(tmp_path):
    half = fit("tagger", tmp_path, [ImpactMonitor()], max_epochs=1)
    half.trainer.save_checkpoint(tmp_path / "half.ckpt")
    module = Tagger()
    with pytest.raises(MissingFileError, match="training has begun"):
        trainer = make_trainer(tmp_path / "elsewhere", [ImpactMonitor()])
        trainer.fit(module, *loaders(module), ckpt_path=tmp_path / "half.ckpt")


def test_layer_0_of_the_first_token_is_nan_with_its_reason(tmp_path):
    class Classifier(Tagger):
        def data(self, n=40):
            rows = super().data(n)
            for row in rows:
                row["input_ids"][0], row["attention_mask"][0] = 1, 1  # [CLS]
            return rows

    module, monitor = Classifier(), ImpactMonitor(pooling="cls")
    make_trainer(tmp_path, [monitor]).fit(module, *loaders(module))
    constant, moved = monitor.records[-3], monitor.records[-1]
    assert math.isnan(constant["impact"])
    assert "constant" in constant["reason"]
    assert moved["impact"] > 0
    assert moved["reason"] == ""


@pytest.mark.parametrize("measure", ["svcca", "rsa", "mutual_knn"])
def test_further_measures_come_from_the_same_pass(measure, tmp_path):
    monitor = ImpactMonitor(similarity=[measure])
    fitted = fit("tagger", tmp_path, [monitor])
    assert all(0 < record[measure] <= 1 + 1e-9 for record in monitor.records)
    assert fitted.module.forwards == fit("tagger", tmp_path, [ImpactMonitor()]).module.forwards


def test_uncertainty_stands_beside_the_impact(tmp_path):
    monitor = ImpactMonitor(uncertainty=["jackknife", "shuffled", "influence"])
    fit("tagger", tmp_path, [monitor])
    record = monitor.records[-1]
    assert record["impact_low"] < record["impact"] < record["impact_high"]
    assert record["null_cka_q95"] < 1 - record["impact"]
    assert record["null_p_value"] == pytest.approx(1 / 101)
    assert 0 <= record["influence_group"] < 26


def test_dependent_rows_widen_the_interval(tmp_path):
    class Triples(Tagger):
        def data(self, n=40):
            return [row | {"premise": torch.tensor(i // 3)} for i, row in enumerate(super().data(-(-n // 3)) * 3)][:n]

        def group_ids(self, batch):
            return batch["premise"]

    monitor = ImpactMonitor(uncertainty=["jackknife"])
    make_trainer(tmp_path, [monitor]).fit(module := Triples(), *loaders(module))
    assert monitor.records[-1]["impact_se"] > 0


@pytest.mark.parametrize("groups", ["premise", lambda batch: batch["premise"].tolist(), "own method", None])
@pytest.mark.parametrize("uncertainty", [[], ["jackknife"]])
def test_impact_is_debiased_over_the_groups_that_somebody_names(groups, uncertainty, tmp_path):
    class Says(Premised):
        def group_ids(self, batch):
            return batch["premise"]

    pl.seed_everything(3, verbose=False)
    module = Says() if groups == "own method" else Premised()
    before = extract(module)
    monitor = ImpactMonitor(uncertainty=uncertainty, groups=None if groups == "own method" else groups)
    pl.seed_everything(3, verbose=False)
    make_trainer(tmp_path, [monitor]).fit(module, *loaders(module))
    ids = None if groups is None else PREMISES
    last = [record for record in monitor.records if record["step"] == 10]
    for record, x, y in zip(last, before, extract(module), strict=True):
        expected = {"impact": ids, "impact_debiased": None}
        for column, own in expected.items():
            value = 1 - float(linear_cka(x.double(), y.double(), debiased=True, groups=own))
            assert record[column] == pytest.approx(value, abs=2e-6)
        assert record["estimator"] == ("cka_debiased" if ids is None else "cka_grouped")
        assert record["n_groups"] == (26 if ids is None else 9)
    assert groups is None or record["impact"] != record["impact_debiased"]
    stored = load_representations(tmp_path / "base_representations" / "0.safetensors").group_ids
    assert stored is None if groups is None else stored.tolist() == PREMISES.tolist()


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ("premises", "groups='premises' names no entry of the batch, a dict"),
        (lambda batch: batch["tags"], r"expected groups as one integer for each of 8 rows .* \(8, 7\)"),
        (lambda batch: batch["premise"] / 2, "expected groups as one integer for each of 8 rows .* torch.float32"),
    ],
)
def test_groups_that_are_no_ids_of_rows_are_refused(groups, match, tmp_path):
    with pytest.raises(XlingValueError, match=match):
        make_trainer(tmp_path, [ImpactMonitor(groups=groups)]).fit(module := Premised(), *loaders(module))


def test_unknown_uncertainty_is_named():
    with pytest.raises(XlingValueError, match="unknown uncertainty 'jacknife'.*did you mean 'jackknife'"):
        ImpactMonitor(uncertainty=["jacknife"])


@pytest.mark.parametrize(
    "changes",
    [{"accumulate_grad_batches": 3}, {"precision": "bf16-mixed"}, {"limit_val_batches": 2}, {"val_check_interval": 2}],
)
def test_impact_is_measured_under_other_ways_to_train(changes, tmp_path):
    monitor = ImpactMonitor()
    fit("tagger", tmp_path, [monitor], **changes)
    assert all(record["impact"] > 1e-6 and not record["reason"] for record in monitor.records)
    assert {record["n_examples"] for record in monitor.records} == {16 if "limit_val_batches" in changes else 26}


@pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing_enable.*deprecated"
)  # its successor is younger than our range
def test_impact_is_measured_with_gradient_checkpointing(tmp_path):
    class Checkpointed(Tagger):
        def __init__(self):
            super().__init__()
            self.encoder.gradient_checkpointing_enable({"use_reentrant": False})

    plain, checkpointed = ImpactMonitor(), ImpactMonitor()
    for monitor, kind in ((plain, Tagger), (checkpointed, Checkpointed)):
        pl.seed_everything(3, verbose=False)
        make_trainer(tmp_path / kind.__name__, [monitor]).fit(module := kind(), *loaders(module))
    assert [r["impact"] for r in checkpointed.records] == pytest.approx([r["impact"] for r in plain.records], abs=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # inductor's own call
def test_impact_is_measured_in_a_compiled_encoder(tmp_path):
    class Compiled(Tagger):
        def __init__(self):
            super().__init__()
            self.encoder = torch.compile(self.encoder, dynamic=True)

    pl.seed_everything(3, verbose=False)
    monitor, module = ImpactMonitor(), Compiled()
    make_trainer(tmp_path, [monitor], max_epochs=1).fit(module, *loaders(module))
    assert len(monitor.records) == 3
    assert all(record["impact"] > 1e-6 for record in monitor.records)


def test_training_stays_compiled_however_many_probes_read_layers(tmp_path):
    runs = []

    def count(graph, inputs):
        def run(*arguments):
            runs.append(len(arguments))
            return graph.forward(*arguments)

        return run

    class Body(nn.Module):
        def __init__(self, parts):
            super().__init__()
            self.parts = parts

        def forward(self, x):
            return self.parts(x)

    module = Mlp()
    module.body = Body(module.body)
    module.body.compile(backend=count)
    monitors = [ImpactMonitor("body.parts.*"), AlignmentMonitor("0", "body.parts.*")]
    training, validation = loaders(module, n_val_loaders=2)
    trainer = make_trainer(tmp_path, monitors, max_epochs=2)
    trainer.fit(module, training, validation)
    assert len(monitors[0].records) > 0
    assert len(runs) == trainer.global_step == 2 * 5
    with uncompiled():
        module.body(torch.zeros(3, 6))
    assert len(runs) == 10
