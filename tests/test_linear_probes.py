"""Linear classifiers on the layers of a run, in our modules and in one that knows nothing of us."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from strangers import STRANGERS, fit, make_trainer
from task_files import make_task_config, write_pud
from torch.utils.data import DataLoader

from xling.analysis.questions.linear_probes import LINEAR_PROBES, compute_linear_probes
from xling.analysis.schema import Analysis
from xling.callbacks import ImpactMonitor, LinearProbes
from xling.commands.train import train
from xling.errors import XlingValueError
from xling.probing.base_store import BaseStore
from xling.probing.discriminant import deal_groups, held_out_predictions
from xling.probing.kept_readings import readings_before
from xling.probing.linear_probes import LabelledRows, majority, read_layers
from xling.report.section import Absent
from xling.report.sections.linear_probes import linear_probes_section
from xling.runs.study import load_study

CPU = torch.device("cpu")


def first_tag(batch):
    return batch["tags"][:, 0]


def languages(n=60, d=6, shift=3.0, seed=0):
    """Two languages of one content: the label moves the rows along one axis, the language along another."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    content = torch.randn(n, d, generator=generator)
    content[:, 0] += shift * labels
    other = content.clone()
    other[:, 1] += shift
    groups = torch.arange(n)
    return {"a": LabelledRows({"top": content}, groups, labels), "b": LabelledRows({"top": other}, groups, labels)}


def test_what_is_in_the_rows_is_read_and_what_is_taken_out_is_not():
    rows = languages()
    found = read_layers(rows, CPU)
    assert found["a"][0].label > 0.85
    assert found["a"][0].language > 0.85
    mute = {name: part.with_layers({"top": part.layers["top"][:, 2:]}) for name, part in rows.items()}
    found = read_layers(mute, CPU)
    assert found["a"][0].label < 0.7  # coin flips
    assert found["a"][0].language + found["b"][0].language == 1  # rows alike get one answer, right for one of the two


def test_only_rows_with_a_label_count_for_it():
    rows = languages(shift=20.0)["a"]
    spoilt = torch.where(torch.arange(60) < 12, -100, rows.labels)
    (found,) = read_layers({"a": LabelledRows(rows.layers, rows.groups, spoilt)}, CPU)["a"]
    assert found.label == 1
    assert np.isnan(found.language)
    assert "two folds and two classes" in found.reason
    assert majority(spoilt) == 0.5
    assert majority(torch.tensor([-100, 2, 2, 0])) == pytest.approx(2 / 3)
    assert np.isnan(majority(None))


def test_rows_without_labels_say_so():
    rows = {name: LabelledRows(part.layers, part.groups) for name, part in languages().items()}
    found = read_layers(rows, CPU)["a"][0]
    assert np.isnan(found.label)
    assert found.language > 0.85
    assert found.reason == "the rows have no labels"


def test_a_strangers_layers_are_read_before_and_after(tmp_path):
    store = BaseStore(tmp_path / "base")
    monitor, probes = ImpactMonitor(base=store), LinearProbes(base=store, labels=first_tag)
    fitted = fit("tagger", tmp_path, [monitor, probes], n_val_loaders=2)
    assert [r["step"] for r in probes.records] == [5] * 6 + [10] * 6  # two loaders of three layers, twice
    record = next(r for r in probes.records if (r["step"], r["loader"], r["layer"]) == (10, "1", 2))
    assert (record["n_examples"], record["n_groups"], record["n_languages"]) == (26, 26, 2)
    batch = next(iter(DataLoader(fitted.module.data(26), batch_size=26)))
    with torch.no_grad():
        hidden = fitted.module.eval().encoder(batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    mask = batch["attention_mask"][..., None]
    after = (hidden * mask).sum(1) / mask.sum(1)
    before, labels = store.load("1", CPU).layers[record["label"]], first_tag(batch)
    folds = deal_groups(torch.arange(26))
    for name, rows in (("label_before", before), ("label_after", after)):
        right = held_out_predictions(rows, labels, folds) == labels
        assert record[name] == pytest.approx(float(right.double().mean()))
    assert record["language_after"] < 0.5  # both loaders hold the same rows


def kept(store, rows, read=None):
    ids = {name: torch.arange(len(part.groups)) for name, part in rows.items()}
    return readings_before(store, rows, ids, read or (lambda: read_layers(rows, CPU)))


def not_again():
    pytest.fail("read what is kept")


def test_what_is_read_from_before_training_is_kept_beside_it(tmp_path):
    store, rows = BaseStore(tmp_path, is_keyed_by_weights=True), languages()
    rows["a"] = replace(rows["a"], labels=None)  # NaN with a reason
    found = kept(store, rows)
    assert repr(kept(store, rows, not_again)) == repr(found)
    assert np.isnan(found["a"][0].label)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("changed", ["labels", "groups", "languages", "examples", "layer"])
def test_other_examples_are_read_anew(changed, tmp_path):
    store, rows = BaseStore(tmp_path, is_keyed_by_weights=True), languages()
    kept(store, rows)
    other = dict(rows)
    if changed == "languages":
        del other["b"]
    elif changed == "labels":
        other["a"] = replace(rows["a"], labels=1 - rows["a"].labels)
    elif changed == "groups":
        other["a"] = replace(rows["a"], groups=rows["a"].groups // 2)
    elif changed == "layer":
        other = {name: part.with_layers({"other": part.layers["top"]}) for name, part in rows.items()}
    else:
        other = languages(n=50)
    called = []
    kept(store, other, lambda: called.append(1) or read_layers(other, CPU))
    assert called


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": [[1]]}', '{"a": [["x", 1, ""]]}'])
def test_damaged_readings_are_made_anew(text, tmp_path):
    store, rows = BaseStore(tmp_path, is_keyed_by_weights=True), languages()
    found = kept(store, rows)
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert kept(store, rows) == found
    assert kept(store, rows, not_again) == found


def test_nothing_is_kept_of_a_base_that_its_folder_does_not_name(tmp_path):
    store = BaseStore(tmp_path)
    assert kept(store, languages()) == read_layers(languages(), CPU)
    assert not list(tmp_path.iterdir())


def test_a_second_run_reads_before_from_the_first(make_config, monkeypatch, tmp_path):
    """Two sources share the representations before training, and what is read from them; the cache is their own."""
    recorded, read = [], []

    def reads(rows, device):
        read.append(rows)
        return read_layers(rows, device)

    monkeypatch.setattr("xling.callbacks.linear_probes.read_layers", reads)
    for source in ("de", "en"):
        places = (f"source_language={source}", f"cache_dir={tmp_path}/cache")
        run = train(make_config("probe.linear_probes=true", *places))
        recorded.append(pd.read_parquet(run.path / "linear_probes.parquet"))
    n_validations = sum(table["step"].nunique() for table in recorded)
    assert len(read) == n_validations + 1  # before training once for both
    keys = ["target_language", "layer"]
    before = [table.drop_duplicates(keys).set_index(keys)["label_before"].sort_index() for table in recorded]
    assert before[0].notna().all()
    pd.testing.assert_series_equal(*before)


def test_probes_leave_training_as_it_is(tmp_path):
    with_probes = fit("tagger", tmp_path / "with", [LinearProbes(labels=first_tag)]).weights()
    without = fit("tagger", tmp_path / "without").weights()
    assert all(torch.equal(value, without[name]) for name, value in with_probes.items())


def test_a_resumed_fit_goes_on_with_its_records(tmp_path):
    whole = LinearProbes(labels=first_tag)
    fit("tagger", tmp_path, [whole], enable_checkpointing=True, limit_train_batches=3)
    half = LinearProbes(labels=first_tag)
    fitted = fit("tagger", tmp_path, [half], max_epochs=1, limit_train_batches=3)
    fitted.trainer.save_checkpoint(tmp_path / "half.ckpt")
    rest = LinearProbes(labels=first_tag)
    module = STRANGERS["tagger"]()
    trainer = make_trainer(tmp_path, [rest], limit_train_batches=3)
    data = DataLoader(module.data(40), batch_size=8), DataLoader(module.data(26), batch_size=8)
    trainer.fit(module, *data, ckpt_path=tmp_path / "half.ckpt", weights_only=False)
    assert [r["step"] for r in rest.records] == [r["step"] for r in whole.records]
    assert [r["label_after"] for r in rest.records[:3]] == [r["label_after"] for r in half.records]


def test_no_more_rows_are_held_than_asked_for(tmp_path):
    probes = LinearProbes(labels=first_tag, n_examples=20)
    fit("tagger", tmp_path, [probes])
    assert {r["n_examples"] for r in probes.records} == {20}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda batch: batch["tags"], r"labels as whole numbers \[batch\], got torch.int64 \[8, 7\]"),
        (lambda batch: batch["tags"][:, 0].float(), r"labels as whole numbers \[batch\], got torch.float32 \[8\]"),
        (lambda batch: "x", r"labels as whole numbers \[batch\], got str"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, message, tmp_path):
    with pytest.raises(XlingValueError, match=message):
        fit("tagger", tmp_path, [LinearProbes(labels=labels)])


def test_too_few_rows_are_refused():
    with pytest.raises(XlingValueError, match="at least 10 rows per loader for a classifier, got n_examples=3"):
        LinearProbes(n_examples=3)


def test_a_run_records_what_can_be_read_and_the_report_says_it(make_config):
    path = train(make_config("probe.linear_probes=true", "trainer.max_epochs=1")).path
    table = pd.read_parquet(path / "linear_probes.parquet")
    assert set(table["target_language"]) == {"en", "de", "sw"}
    assert set(table["layer"]) == {0, 1, 2, 3}
    read = table[["label_before", "label_after", "language_before", "language_after"]]
    assert read.notna().all().all()
    assert ((read >= 0) & (read <= 1)).all().all()
    study = load_study(path)
    cells = compute_linear_probes(study.linear_probes)
    assert list(cells) == list(LINEAR_PROBES)
    assert len(cells) == 12
    assert load_study(train(make_config("trainer.max_epochs=1", "study=plain")).path).linear_probes.empty


def made_up(**changes):
    """Two sources and targets, two layers: at layer 1 training hides the language and brings out the label."""
    rows = [
        {"source_language": s, "target_language": t, "layer": layer, "strategy": "none", "n_seeds": 1, "n_examples": 90}
        | {"label_before": 0.4, "label_after": 0.4 + 0.2 * layer, "label_majority": 1 / 3}
        | {"language_before": 0.99, "language_after": 0.99 - 0.4 * layer, "n_languages": 2}
        for s in ("en", "sw")
        for t in ("en", "sw")
        for layer in (0, 1)
    ]
    return Analysis({"linear_probes": pd.DataFrame(rows).assign(**changes)}, facts={"strategy": "none"})


def test_the_report_says_where_reading_has_changed_most():
    text = linear_probes_section(made_up()).paragraphs[0].replace("\N{NO-BREAK SPACE}", " ")
    assert "over pairs of a source and another target" in text
    assert "the label is read in 40 % before and 60 % after at layer 1 (the most frequent label: 33 %)" in text
    assert "the language is read in 99 % before and 59 % after at layer 1 (guessing: 50 %)" in text


def test_the_report_says_what_was_not_read():
    nothing = made_up(label_after=np.nan, language_after=np.nan, label_before=np.nan, language_before=np.nan)
    assert "Nothing could be read" in linear_probes_section(nothing).paragraphs[0]
    no_base = linear_probes_section(made_up(label_before=np.nan)).paragraphs[0]
    assert "the label is read best at layer 1" in no_base
    absent = linear_probes_section(Analysis({}, facts={"strategy": "none"}))
    assert isinstance(absent, Absent)
    assert "probe.linear_probes=true" in absent.reason


def test_words_are_read_by_the_label_of_their_first_piece(tmp_path):
    write_pud(tmp_path, ["en", "de"])
    settings = ["data=ud", "source_language=en", "probe.pooling=word", "probe.linear_probes=true"]
    path = train(make_task_config(tmp_path, tmp_path, *settings)).path
    table = pd.read_parquet(path / "linear_probes.parquet")
    assert (table["n_groups"] < table["n_examples"]).all()  # words of a sentence are one group
    words = table[table["layer"] == 0]
    assert (words["label_before"] > 0.9).all()  # the words of these sentences tell their tags, whatever the weights
    assert (words["label_majority"] < 0.5).all()
