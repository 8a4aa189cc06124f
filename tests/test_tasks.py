"""Whole studies of other tasks and languages: from files to the report, with nothing but settings."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from analysis_factory import make_measurements
from task_files import make_task_config, write_ner, write_pud, write_squad
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from xling.analysis.inputs.gather import add_distances, gather_study
from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.pipeline import analyse
from xling.commands.analyze import analyze
from xling.commands.train import train
from xling.distances import KINDS, compute_distances
from xling.errors import MissingFileError, XlingValueError
from xling.report.sections.transfer_and_impact import describe_transfer
from xling.tasks import SentenceClassification, TokenClassification
from xling.tasks.sentence_module import LabelScores

FAST = Settings("default", resampling=Resampling(20, 20, 0))
DISTANCES = functools.partial(compute_distances, KINDS)


def tables(run):
    return (pd.read_parquet(run.path / f"{name}.parquet") for name in ("impact", "transfer"))


def report_of(tmp_path):
    analysis = analyze(
        DISTANCES, tmp_path / "results", runs=tmp_path / "test", controls=["same_script", "same_family"], settings=FAST
    )
    return analysis, (tmp_path / "results" / "report.html").read_text(encoding="utf-8")


def test_label_scores_are_torchmetrics_in_any_batches():
    generator = torch.Generator().manual_seed(0)
    true, predicted = torch.randint(0, 4, (2, 60), generator=generator)  # one of five labels never occurs
    scores = LabelScores(5)
    for rows in torch.arange(60).split(7):
        scores.update(predicted[rows], true[rows])
    result = scores.compute()
    expected = multiclass_f1_score(predicted, true, num_classes=5, average="macro")
    assert float(result["macro_f1"]) == pytest.approx(float(expected))
    expected = multiclass_accuracy(predicted, true, num_classes=5, average="micro")
    assert float(result["accuracy"]) == pytest.approx(float(expected))
    assert int(result["n_examples"]) == 60


@pytest.mark.parametrize("task", [SentenceClassification(), TokenClassification()])
def test_a_task_whose_labels_are_not_known_yet_says_so(task):
    with pytest.raises(XlingValueError, match=r"not known yet; give labels=\[...\], or take task.fitted"):
        task.key()
    with pytest.raises(XlingValueError, match="not known yet"):
        task.module(torch.nn.Identity(), pooling="cls")


def test_parts_of_speech_in_a_language_that_this_project_does_not_know(tmp_path, caplog):
    write_pud(tmp_path, ["en", "de", "pl"])
    run = train(make_task_config(tmp_path, tmp_path, "data=ud", "source_language=pl", "probe.pooling=word"))
    impact, transfer = tables(run)
    assert transfer["metric"].unique().tolist() == ["accuracy"]
    sizes = transfer.set_index("target_language")["n_examples"]
    assert sizes["en"] == sizes["de"] == 7 * sizes["pl"] / 6  # words, of the same sentences in each language
    at_words = impact[impact["step"] > 0].groupby("target_language")["n_examples"].first()
    assert at_words.to_dict() == sizes.to_dict()
    assert impact.loc[impact["measure"] == impact["measure"].iloc[0], "impact_se"].notna().all()  # over sentences
    assert "words have no counterparts" in run.read_manifest()["alignment"]
    assert "alignment of source and targets is not measured" in caplog.text
    analysis, html = report_of(tmp_path)
    pairs = analysis.tables["pairs"]
    assert pairs.loc[pairs["target_language"] == "de", "genetic"].between(0.1, 1).all()  # as URIEL knows Polish
    assert "Zero-shot accuracy" in html


def test_sentence_vectors_of_parallel_sentences_are_aligned(tmp_path):
    write_pud(tmp_path, ["en", "pl"])
    run = train(make_task_config(tmp_path, tmp_path, "data=ud", "source_language=en"))
    alignment = pd.read_parquet(run.path / "alignment.parquet")
    assert run.read_manifest()["alignment"] == "measured"
    assert alignment["cka_debiased"].notna().all()
    assert alignment["n_examples"].unique().tolist() == [
        pd.read_parquet(run.path / "impact.parquet")["n_examples"].max()
    ]


def test_entities_without_parallel_data_have_impact_and_say_why_there_is_no_alignment(tmp_path):
    write_ner(tmp_path, ["en", "de", "pl"])
    settings = [
        "data=panx",
        "data.pattern='train-{language}.tsv'",
        "data.parts={train: 0.6, probe: 0.4}",
        "data.probe_split=probe",
    ]
    run = train(make_task_config(tmp_path, tmp_path, *settings, "source_language=de"))
    impact, transfer = tables(run)
    assert set(transfer["metric"]) == {"entity_f1"}
    assert transfer["accuracy"].between(0, 1).all()
    assert impact["impact"].notna().all()
    assert impact["n_examples"].nunique() > 1  # sizes may differ by language
    assert (
        run.read_manifest()["alignment"]
        == "no target's probe set has the source's example ids: the data are not parallel"
    )
    assert not (run.path / "alignment.parquet").exists()
    measured, _ = add_distances(gather_study(tmp_path / "test"), DISTANCES)
    analysis = analyse(measured, FAST)
    assert set(analysis.tables["pairs"]["metric"]) == {"entity_f1"}
    assert describe_transfer(analysis)[1].startswith("Zero-shot entity F1 (S ≠ T): mean")


def test_questions_are_answered_evaluated_and_reported(tmp_path):
    write_squad(tmp_path, ["en", "de"])
    settings = ["data=squad_files", "data.pattern='xquad.{language}.json'", "data.parts={train: 0.5, probe: 0.5}"]
    settings += ["data.probe_split=probe", "data.max_length=64"]
    config = make_task_config(tmp_path, tmp_path, *settings, "source_language=en", "trainer.max_epochs=2")
    run = train(config)
    impact, transfer = tables(run)
    assert set(transfer["metric"]) == {"f1"}
    assert (transfer["score"] >= transfer["exact_match"]).all()
    assert transfer["n_examples"].max() < impact["n_examples"].max()  # questions against windows
    _, html = report_of(tmp_path)
    assert "Zero-shot F1" in html


@pytest.mark.slow
def test_a_question_model_can_learn_its_toy_set(tmp_path):
    write_squad(tmp_path, ["en"], n=24)
    settings = ["data=squad_files", "data.pattern='xquad.{language}.json'", "data.parts={train: 0.7, probe: 0.3}"]
    settings += [
        "data.probe_split=probe",
        "trainer.max_epochs=12",
        "optimizer.learning_rate=3e-3",
        "optimizer.schedule=constant",
    ]
    run = train(
        make_task_config(tmp_path, tmp_path, *settings, "source_language=en", "trainer.check_val_every_n_epoch=11")
    )
    losses = pd.read_csv(run.path / "logs" / "metrics.csv")["train/loss"].dropna()
    assert losses.iloc[-1] < 0.7 * np.log(60)  # far from guessing among a context's 60 tokens


def test_studies_of_different_metrics_are_not_mixed():
    transfer = make_measurements().transfer
    mixed = pd.concat([transfer, transfer.assign(metric="entity_f1", seed=7)])
    with pytest.raises(XlingValueError, match="found accuracy and entity_f1: their scores are not on one scale"):
        compute_pairs(mixed, None, pd.DataFrame(columns=["source_language", "target_language"]))


def test_mistakes_of_a_user_are_one_sentence(tmp_path):
    write_pud(tmp_path, ["en", "de"])
    with pytest.raises(MissingFileError, match="there are files for de, en"):
        train(make_task_config(tmp_path, tmp_path, "data=ud", "target_languages=[pl]"))
    with pytest.raises(XlingValueError, match="Classifier does not say which tokens are which words"):
        columns = "data.columns={text: 0, label: 1}"
        (tmp_path / "train.en.tsv").write_text("a\tx\nb\ty\n" * 8)
        (tmp_path / "test.en.tsv").write_text("c\tx\nd\ty\n" * 8)
        train(make_task_config(tmp_path, tmp_path, "data=text_files", columns, "probe.pooling=word"))
    with pytest.raises(MissingFileError, match="set data.root=FOLDER"):
        train(make_task_config(tmp_path / "nowhere", tmp_path, "data=ud"))
