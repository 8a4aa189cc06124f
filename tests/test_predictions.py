"""What a run predicted, example by example: kept as it was scored; and no score where nothing was predicted."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from statsmodels.stats.contingency_tables import mcnemar
from task_files import make_task_config, write_ner, write_squad
from torchmetrics.functional.classification import multiclass_f1_score

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.runs.study import load_study
from xling.runs.tables import KEYS, PREDICTIONS
from xling.tasks.answers import answer_f1, exact_match
from xling.tasks.entities import entity_f1
from xling.tasks.predictions import classes_of
from xling.tasks.sentence_module import LabelScores, SequenceClassifier
from xling.tasks.windows import WORD_BITS
from xling.tasks.word_module import WordScores

LABELS = ["entailment", "neutral", "contradiction"]


def last_scores(run):
    transfer = pd.read_parquet(run.path / "transfer.parquet")
    return transfer[transfer["step"] == transfer["step"].max()].set_index("target_language")


def predictions_of(run):
    return pd.read_parquet(run.path / "predictions.parquet")


def test_scores_of_sentences_are_recomputed_exactly(make_config):
    run = train(make_config("source_language=de"))
    found, scores = predictions_of(run), last_scores(run)
    assert list(found.columns) == [*PREDICTIONS, *(f"p_{label}" for label in LABELS)]
    assert len(found) == 3 * 36
    assert found["step"].unique().tolist() == [scores["step"].max()]
    for language, rows in found.groupby("target_language", observed=True):
        assert (rows["gold"].astype(str) == rows["predicted"].astype(str)).mean() == scores.loc[language, "score"]
        true, predicted = (torch.tensor(rows[name].cat.codes.to_numpy()).long() for name in ("gold", "predicted"))
        f1 = multiclass_f1_score(predicted, true, num_classes=3, average="macro")
        assert float(f1) == pytest.approx(scores.loc[language, "macro_f1"])
        assert rows["example_id"].is_monotonic_increasing
        assert rows["example_id"].is_unique
        assert rows.groupby("group_id").size().unique().tolist() == [3]
        p = rows[[f"p_{label}" for label in LABELS]]
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
        assert p.to_numpy().argmax(axis=1).tolist() == rows["predicted"].cat.codes.tolist()


@pytest.mark.parametrize("choice", ["labels", "false"])
def test_probabilities_or_all_of_it_can_be_left_out(choice, make_config):
    run = train(make_config(f"probe.predictions={choice}", "trainer.max_epochs=1"))
    if choice == "false":
        assert not (run.path / "predictions.parquet").exists()
        assert list(load_study(run.path).predictions.columns) == list(PREDICTIONS)
        return
    assert list(predictions_of(run).columns) == list(PREDICTIONS)
    run = train(make_config("probe.predictions=true", "trainer.max_epochs=1"))  # complete, whatever it kept
    assert "p_neutral" not in predictions_of(run)


def test_a_study_gives_the_predictions_of_all_its_runs(make_config, tmp_path):
    for language in ("en", "de"):
        train(make_config(f"source_language={language}", "trainer.max_epochs=1"))
    found = load_study(tmp_path).predictions
    assert set(found["source_language"]) == {"en", "de"}
    assert isinstance(found["predicted"].dtype, pd.CategoricalDtype)
    wide = found.pivot(index=["target_language", "example_id"], columns="source_language", values="gold")
    assert (wide["en"] == wide["de"]).all()


def test_scores_of_words_and_entities_are_recomputed_exactly(tmp_path):
    write_ner(tmp_path, ["en", "de"])
    parts = ["data.pattern='train-{language}.tsv'", "data.parts={train: 0.5, probe: 0.5}", "data.probe_split=probe"]
    run = train(make_task_config(tmp_path, tmp_path, "data=panx", *parts, "source_language=en"))
    found, scores = predictions_of(run), last_scores(run)
    for language, rows in found.groupby("target_language", observed=True):
        assert len(rows) == scores.loc[language, "n_examples"]
        assert (rows["gold"].astype(str) == rows["predicted"].astype(str)).mean() == scores.loc[language, "accuracy"]
        sentences = rows.groupby(rows["example_id"] // 2**WORD_BITS)
        tags = ([list(own.astype(str)) for _, own in sentences[name]] for name in ("gold", "predicted"))
        assert entity_f1(*tags) == scores.loc[language, "score"]


def test_scores_of_answers_are_recomputed_exactly(tmp_path):
    write_squad(tmp_path, ["en", "de"])
    parts = ["data.pattern='xquad.{language}.json'", "data.parts={train: 0.5, probe: 0.5}", "data.probe_split=probe"]
    parts += ["data.max_length=64"]
    run = train(make_task_config(tmp_path, tmp_path, "data=squad_files", *parts, "source_language=en"))
    found, scores = predictions_of(run), last_scores(run)
    assert list(found.columns) == [*PREDICTIONS, "certainty"]
    for language, rows in found.groupby("target_language", observed=True):
        assert rows["example_id"].is_unique
        assert len(rows) == scores.loc[language, "n_examples"]
        for metric, score in (("f1", answer_f1), ("exact_match", exact_match)):
            values = [
                score(answer, list(true), language)
                for answer, true in zip(rows["predicted"], rows["gold"], strict=True)
            ]
            column = "score" if metric == "f1" else metric
            assert np.mean(values) == pytest.approx(scores.loc[language, column], abs=1e-7)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_predict_nothing_and_score_nothing(value):
    logits = torch.tensor([[0.0, 1.0], [0.0, value], [3.0, 1.0]])
    assert classes_of(logits).tolist() == [1, -1, 0]
    scores = LabelScores(2)
    scores.update(classes_of(logits), torch.tensor([1, 1, 0]))
    result = scores.compute()
    assert math.isnan(result["accuracy"])
    assert math.isnan(result["macro_f1"])
    assert (int(result["n_examples"]), int(result["n_undefined"])) == (3, 1)
    words = WordScores(["O", "B-LOC"])
    words.update(torch.arange(3), classes_of(logits), torch.tensor([1, 1, 0]))
    assert math.isnan(words.compute()["accuracy"])
    assert math.isnan(words.compute()["entity_f1"])


@pytest.mark.filterwarnings("ignore:.*invalid value encountered.*")
def test_a_run_whose_model_breaks_has_nan_with_its_reason(make_config, monkeypatch):
    whole = SequenceClassifier.forward

    def broken(self, batch):
        outputs = whole(self, batch)
        return outputs if self.training else outputs.index_fill(0, torch.tensor([0]), torch.nan)

    monkeypatch.setattr(SequenceClassifier, "forward", broken)
    run = train(make_config("trainer.max_epochs=1"))
    scores = last_scores(run)
    assert scores["score"].isna().all()
    assert scores["reason"].str.fullmatch(r"\d of 36 have outputs that are not finite").all()
    assert scores["n_examples"].eq(36).all()
    assert predictions_of(run)["predicted"].isna().any()
    assert predictions_of(run)["gold"].notna().all()


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["trainer.max_epochs=0"], "this run has 0 steps and would be validated first after 6"),
        (["trainer.max_steps=0"], "this run has 0 steps"),
        (["trainer.max_steps=3"], "this run has 3 steps and would be validated first after 6"),
        (["trainer.check_val_every_n_epoch=3"], "this run has 12 steps and would be validated first after 18"),
        (
            ["trainer.val_check_interval=13", "trainer.check_val_every_n_epoch=null"],
            "this run has 12 steps and would be validated first after 13",
        ),
        (["data.batch_size=-4"], "expected data.batch_size to be a number 1 or more, got -4"),
        (["data.eval_batch_size=0"], "expected data.eval_batch_size to be a number 1 or more, got 0"),
        (["data.eval_tokens=0"], "expected data.eval_tokens to be a number 1 or more, got 0"),
    ],
)
def test_a_run_that_would_never_be_validated_is_refused_before_training(overrides, match, make_config, tmp_path):
    with pytest.raises(XlingValueError, match=match):
        train(make_config(*overrides))
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize(
    "overrides",
    [["trainer.check_val_every_n_epoch=2"], ["trainer.val_check_interval=12", "trainer.check_val_every_n_epoch=null"]],
)
def test_a_run_that_is_validated_at_its_very_end_goes_through(overrides, make_config):
    scores = last_scores(train(make_config(*overrides)))
    assert scores["step"].unique().tolist() == [12]


def test_predictions_have_the_keys_of_all_tables():
    assert list(PREDICTIONS)[: len(KEYS)] == list(KEYS)


def test_two_runs_are_compared_example_by_example(make_config, tmp_path):
    """As docs/predictions.md does it."""
    for language in ("en", "de"):
        train(make_config(f"source_language={language}"))
    found = load_study(tmp_path).predictions
    is_right = found["gold"].astype(str) == found["predicted"].astype(str)
    on_sw = found[found["target_language"] == "sw"].assign(is_right=is_right)
    right = on_sw.pivot(index="example_id", columns="source_language", values="is_right")
    table = pd.crosstab(right["en"], right["de"]).reindex(index=[False, True], columns=[False, True], fill_value=0)
    only_one = [int(table.loc[True, False]), int(table.loc[False, True])]
    expected = scipy.stats.binomtest(only_one[0], sum(only_one)).pvalue if sum(only_one) else 1.0
    assert mcnemar(table, exact=True).pvalue == pytest.approx(expected)
    assert len(right) == 36
