"""One conformance test over every exported callback, and what each is for."""

import math
import time

import pytest
import pytorch_lightning as pl
import torch
from strangers import STRANGERS, Mlp, Tagger, fit, loaders, make_trainer
from torch import nn
from torch.utils.data import DataLoader

import xling.callbacks
from xling.callbacks import AlignmentMonitor, ImpactMonitor, LayerFreezing, RepresentationWriter
from xling.errors import MissingFileError, XlingValueError
from xling.freezing import plan_freezing
from xling.probing.representations import load_representations
from xling.probing.uncompiled import uncompiled
from xling.similarity import linear_cka

OBSERVERS = {
    "AlignmentMonitor": lambda layers: AlignmentMonitor("0", layers),
    "ImpactMonitor": lambda layers: ImpactMonitor(layers),
    "GradientMonitor": lambda layers: xling.callbacks.GradientMonitor("0", 3, names=layers),
    "RepresentationWriter": lambda layers: RepresentationWriter(layers=layers),
    "TrainingClock": lambda layers: xling.callbacks.TrainingClock(),
    "ProgressFile": lambda layers: xling.callbacks.ProgressFile(every_seconds=0.01),
    "RunCheckpoint": lambda layers: xling.callbacks.RunCheckpoint(every_n_steps=1),
    "StopOnDivergence": lambda layers: xling.callbacks.StopOnDivergence(),
    "StopOnSignal": lambda layers: xling.callbacks.StopOnSignal(),
    "ProgressLog": lambda layers: xling.callbacks.ProgressLog(every_seconds=0.0),
}
ADDS_FORWARDS = {"GradientMonitor"}
"""What encodes examples of its own, and says so; the others read the passes that run anyway."""

INTERVENERS = {"LayerFreezing", "TrainUsedRows"} | {  # test_intervening.py
    "Anchor", "GradualUnfreezing", "ImpactBudget", "LayerwiseRates", "PullToBase"
}  # fmt: skip


def test_every_exported_callback_is_tested_here():
    assert set(xling.callbacks.__all__) == set(OBSERVERS) | INTERVENERS


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("kind", STRANGERS)
def test_observers_leave_the_weights_alone(name, kind, tmp_path):
    plain = fit(kind, tmp_path / "plain")
    observed = fit(kind, tmp_path / "observed", [OBSERVERS[name](STRANGERS[kind].layers)])
    for key, value in plain.weights().items():
        assert torch.equal(value, observed.weights()[key]), key
    added = observed.module.forwards - plain.module.forwards
    own_passes = 2 * 3 if name in ADDS_FORWARDS else 0  # examples at each of two validations
    assert added in (own_passes, 4)  # at most the base pass: 26 rows in batches of 8
    assert {m: p.training for m, p in plain.module.named_modules()} == {
        m: p.training for m, p in observed.module.named_modules()
    }
    assert not any(part._forward_hooks for part in observed.module.modules())


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("kind", STRANGERS)
def test_observers_survive_two_fits_and_a_fast_run(name, kind, tmp_path):
    callback = OBSERVERS[name](STRANGERS[kind].layers)
    first, second = (fit(kind, tmp_path, [callback]) for _ in range(2))
    assert all(torch.equal(value, second.weights()[key]) for key, value in first.weights().items())
    fit(kind, tmp_path, [callback], fast_dev_run=True)


@pytest.mark.parametrize("name", OBSERVERS)
def test_observers_remove_their_hooks_after_an_exception(name, tmp_path):
    class Breaks(Tagger):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx)
            if self.global_step:
                raise KeyError("broken on purpose")

    module = Breaks()
    with pytest.raises(KeyError, match="broken on purpose"):
        make_trainer(tmp_path, [OBSERVERS[name](None)]).fit(module, *loaders(module))
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize("kind", STRANGERS)
def test_no_forward_pass_is_added_to_a_validation_batch(kind, tmp_path):
    plain = fit(kind, tmp_path / "a", num_sanity_val_steps=math.inf)
    observed = fit(kind, tmp_path / "b", [OBSERVERS[n](STRANGERS[kind].layers) for n in set(OBSERVERS) - ADDS_FORWARDS])
    assert plain.module.forwards == observed.module.forwards


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


def extract(module):
    """Every layer's pooled output over the validation data, without callbacks."""
    return extract_from(module, loaders(module)[1])


def extract_from(module, loader):
    from xling.models.layers import output_of
    from xling.probing.select import select_layers

    layers, collected = select_layers(module, module.layers), {}
    handles = [
        part.register_forward_hook(lambda m, i, o, label=label: collected.setdefault(label, []).append(output_of(o)))
        for label, part in layers.items()
    ]
    module.eval()
    masks = []
    with torch.no_grad():
        for batch in loader:
            module.loss(batch)
            masks.append(batch["attention_mask"] if isinstance(batch, dict) and "attention_mask" in batch else None)
    module.train()
    for handle in handles:
        handle.remove()
    return [torch.cat([pool(h, m) for h, m in zip(batches, masks, strict=True)]) for batches in collected.values()]


def pool(hidden, mask):
    if hidden.dim() == 2:
        return hidden
    if hidden.dim() == 4:
        return hidden.mean((2, 3))
    rows = [row[kept.bool()].mean(0) for row, kept in zip(hidden, mask, strict=True)]
    return torch.stack(rows)


def test_frozen_layers_do_not_move_and_trained_ones_do(tmp_path):
    monitor = ImpactMonitor()
    fit("tagger", tmp_path, [LayerFreezing(plan_freezing("bottom_k", k=1)), monitor])
    last = {record["layer"]: record["impact"] for record in monitor.records if record["step"] == 10}
    assert last[0] == last[1] == 0.0
    assert last[2] > 1e-6


def test_freezing_everything_is_refused(tmp_path):
    class OnlyEncoder(Tagger):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(16, 3).requires_grad_(False)

    module = OnlyEncoder()
    with pytest.raises(XlingValueError, match="leaves no parameter to train"):
        make_trainer(tmp_path, [LayerFreezing(plan_freezing("bottom_k", k=2))]).fit(module, *loaders(module))


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


def test_snapshots_hold_ids_and_numbers(tmp_path):
    fitted = fit("tagger", tmp_path, [RepresentationWriter(dtype="float32")])
    path = tmp_path / "representations" / "step_000010" / "0.safetensors"
    snapshot = load_representations(path, {"pooling": "mean", "step": "10"})
    assert snapshot.example_ids.tolist() == list(range(26))
    for stored, expected in zip(snapshot.layers.values(), extract(fitted.module), strict=True):
        torch.testing.assert_close(stored, expected)


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


def test_alignment_compares_parallel_loaders_example_by_example(tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = Tagger(), AlignmentMonitor("en", similarity=["cka_debiased"])
    rows = module.data(26)
    other = [row | {"input_ids": (row["input_ids"] + 7) % 50} for row in rows]  # another language, say
    validation = {"en": DataLoader(rows, 8), "de": DataLoader(other, 5)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    last = [record["cka_debiased"] for record in monitor.records if record["step"] == 10]
    english, german = (extract_from(module, loader) for loader in validation.values())
    expected = [float(linear_cka(x.double(), y.double(), debiased=True)) for x, y in zip(english, german, strict=True)]
    assert last == pytest.approx(expected, abs=2e-6)
    assert {record["loader"] for record in monitor.records} == {"de"}


def test_alignment_of_loaders_that_are_not_parallel_is_nan_with_its_reason(tmp_path):
    module, monitor = Tagger(), AlignmentMonitor("en")
    validation = {"en": DataLoader(module.data(20), 8), "de": DataLoader(module.data(26), 8)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    assert all(math.isnan(record["cka_debiased"]) for record in monitor.records)
    assert "6 example ids are not among those of en" in monitor.records[0]["reason"]


def test_alignment_of_loaders_without_a_common_example_is_nan_too(tmp_path):
    class Named(Tagger):
        def example_ids(self, batch):
            return batch["id"]

    module, monitor = Named(), AlignmentMonitor("en")
    rows = {
        name: [row | {"id": start + i} for i, row in enumerate(module.data(20))]
        for name, start in (("en", 0), ("de", 100))
    }
    validation = {name: DataLoader(examples, 8) for name, examples in rows.items()}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    assert all(math.isnan(record["cka_debiased"]) for record in monitor.records)
    assert "20 example ids are not among those of en" in monitor.records[0]["reason"]


class WordTagger(Tagger):
    """Two tokens a word from the second token on, as far as the mask goes; sentences of differing length."""

    def word_ids(self, batch):
        position = torch.arange(7).expand_as(batch["input_ids"])
        ids = batch["number"][:, None] * 100 + (position - 1) // 2
        return ids.masked_fill((position == 0) | (batch["attention_mask"] == 0), -1)

    def data(self, n=40):
        return [row | {"number": i} for i, row in enumerate(super().data(n))]


@pytest.mark.parametrize("pooling", ["word", "word_mean"])
def test_words_are_rows_of_a_module_that_says_which_they_are(pooling, tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = WordTagger(), ImpactMonitor(pooling=pooling, uncertainty=["jackknife"])
    writer = RepresentationWriter(tmp_path / "rows", pooling=pooling, dtype="float32")
    make_trainer(tmp_path, [monitor, writer]).fit(module, *loaders(module))
    rows = load_representations(tmp_path / "rows" / "step_000010" / "0.safetensors")
    ids = torch.cat([module.word_ids(batch).flatten() for batch in DataLoader(module.data(26), 26)])
    assert rows.example_ids.tolist() == sorted(set(ids.tolist()) - {-1})
    assert monitor.records[-1]["n_examples"] == len(rows.example_ids)
    assert monitor.records[-1]["impact_se"] > 0  # over the 26 sentences
    module.eval()
    with torch.no_grad():
        row = next(iter(DataLoader(module.data(26), 1)))
        hidden = module.encoder(row["input_ids"], attention_mask=row["attention_mask"])[0][0]
    second = hidden[1:3] if row["attention_mask"][0, 2] else hidden[1:2]
    expected = second[0] if pooling == "word" else second.mean(dim=0)
    torch.testing.assert_close(rows.layers["layer_02"][0], expected, atol=1e-5, rtol=1e-5)


def test_words_need_a_module_that_names_them(tmp_path):
    with pytest.raises(XlingValueError, match="Tagger does not say which tokens are which words"):
        fit("tagger", tmp_path, [ImpactMonitor(pooling="word")])


def test_the_reference_must_come_first(tmp_path):
    module = Tagger()
    with pytest.raises(XlingValueError, match="expected the reference loader 'de' first, found 'en'"):
        validation = {"en": DataLoader(module.data(20), 8), "de": DataLoader(module.data(20), 8)}
        make_trainer(tmp_path, [AlignmentMonitor("de")]).fit(module, loaders(module)[0], validation)


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


class Premised(Tagger):
    """Rows of three on one premise, scattered; a key of the batch says which, the module does not."""

    def data(self, n=40):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
        return [row | {"premise": order[i] // 3} for i, row in enumerate(super().data(n))]


PREMISES = torch.tensor([int(row["premise"]) for row in Premised().data(26)])


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


def test_alignment_is_debiased_over_the_references_groups(tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = Premised(), AlignmentMonitor("en", groups="premise")
    rows = module.data(26)
    other = [row | {"input_ids": (row["input_ids"] + 7) % 50} for row in rows]
    validation = {"en": DataLoader(rows, 8), "de": DataLoader(other, 5)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    last = [record for record in monitor.records if record["step"] == 10]
    english, german = (extract_from(module, loader) for loader in validation.values())
    for record, x, y in zip(last, english, german, strict=True):
        for measure, groups in (("cka_grouped", PREMISES), ("cka_debiased", None)):
            value = linear_cka(x.double(), y.double(), debiased=True, groups=groups)
            assert record[measure] == pytest.approx(float(value), abs=2e-6)


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


def test_the_clock_counts_training_alone(tmp_path):
    class SlowValidation(Tagger):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            time.sleep(0.2)

    clock, module = xling.callbacks.TrainingClock(), SlowValidation()
    started = time.monotonic()
    make_trainer(tmp_path, [clock]).fit(module, *loaders(module))
    assert 0 < clock.seconds < time.monotonic() - started - 8 * 0.2


def test_the_clock_goes_on_after_an_interruption(tmp_path):
    before, after = xling.callbacks.TrainingClock(), xling.callbacks.TrainingClock()
    first = fit("mlp", tmp_path, [before], max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    (state,) = saved["callbacks"].values()
    state["seconds"] += 1000
    torch.save(saved, tmp_path / "b.ckpt")
    make_trainer(tmp_path, [after]).fit(first.module, *loaders(first.module), ckpt_path=tmp_path / "b.ckpt")
    assert after.seconds > 1000 + before.seconds


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
