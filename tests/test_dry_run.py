"""A dry run: what it counts, on what it bases its hours and gigabytes, and that it touches nothing."""

import json
import sys

import pytest
from transformers import AutoConfig

from xling.commands.train import main, train
from xling.errors import XlingValueError
from xling.freezing import plan_freezing
from xling.models.size import KNOWN, EncoderSize, count_parameters, encoder_size
from xling.models.spec import EncoderSpec
from xling.runs.directory import RunDirectory
from xling.runs.planned_runs import RunKey, identity_of, read_plan, run_key
from xling.sweeps.cost import Workload, compute_base_bytes, compute_checkpoint_bytes, compute_run_flops
from xling.sweeps.dry_run import phrase_disk, phrase_hours, planned_state, print_dry_run
from xling.sweeps.estimate import (
    count_rows,
    estimate_checkpoint,
    estimate_seconds,
    flop_rate,
    free_bytes,
    read_workload,
)

SIZE = EncoderSize(n_layers=4, hidden=8, n_embedding_parameters=1000, n_block_parameters=400)
WORK = Workload(n_train=10, n_probe=0, n_targets=1, epochs=1, validations=1)


def per_token(*frozen):
    return compute_run_flops(SIZE, frozen, WORK) / 10 / 50


def test_freezing_saves_what_autograd_saves():
    assert per_token() == 6 * 400
    assert per_token(0) == 6 * 400 - 2 * 100  # block 1 passes no gradient on
    assert per_token(0, 1, 2) == 2 * 400 + 4 * 200 - 2 * 100
    assert per_token(1, 2) == 6 * 400 - 2 * 200  # the embeddings below train: no backward pass is saved
    assert per_token(0, 1, 2, 3, 4) == 2 * 400


def test_a_checkpoint_holds_the_moments_of_what_trains():
    assert compute_checkpoint_bytes(SIZE, ()) == 4 * 3 * 1400
    assert compute_checkpoint_bytes(SIZE, (0, 1)) == 4 * (1400 + 2 * 300)
    assert compute_checkpoint_bytes(SIZE, (), word_embeddings=True) == 4 * (1400 + 2 * 400)


@pytest.mark.parametrize(
    ("name", "model_type", "vocabulary", "hidden", "positions", "token_types"),
    [
        ("google-bert/bert-base-multilingual-cased", "bert", 119547, 768, 512, 2),
        ("FacebookAI/xlm-roberta-base", "xlm-roberta", 250002, 768, 514, 1),
        ("intfloat/multilingual-e5-small", "bert", 250037, 384, 512, 2),
    ],
)
def test_known_sizes_are_those_of_the_published_configurations(
    name, model_type, vocabulary, hidden, positions, token_types
):
    config = AutoConfig.for_model(
        model_type, vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=positions, type_vocab_size=token_types,
    )  # fmt: skip
    assert count_parameters(config, EncoderSpec(name, name)) == KNOWN[name]


def test_an_encoder_that_is_not_here_has_no_size():
    assert encoder_size(EncoderSpec("x", "somebody/unheard-of")) is None


def test_estimates_meet_what_a_run_leaves(make_config):
    config = make_config()
    run = train(config)
    checkpoint = (run.path / "checkpoints" / "last.ckpt").stat().st_size
    assert estimate_checkpoint(config) == pytest.approx(checkpoint, rel=0.5)  # tables and names weigh in a tiny one
    work = read_workload(config)
    assert (work.n_train, work.n_probe, work.n_targets, work.epochs, work.validations) == (90, 36, 3, 2, 2)


def test_the_base_is_as_large_as_reckoned(make_config, tmp_path):
    config = make_config(f"cache_dir={tmp_path}/cache")
    train(config)
    written = sum(path.stat().st_size for path in (tmp_path / "cache" / "base").rglob("*.safetensors"))
    size = encoder_size(config.model)
    assert compute_base_bytes(size, read_workload(config)) == pytest.approx(written, rel=0.1)


def test_validations_are_counted_by_their_interval(make_config):
    every_3 = make_config("trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=null")
    assert read_workload(every_3).validations == 12 // 3
    assert read_workload(make_config("trainer.val_check_interval=0.5")).validations == 4
    assert read_workload(make_config("trainer.max_steps=3", "trainer.val_check_interval=1")).validations == 3


def test_rows_are_counted_without_asking_a_hub(tmp_path):
    xnli = {"_target_": "xling.data.sources.xnli.XnliSource", "root": None, "revision": None}
    assert count_rows(json.dumps(xnli), "en", "train") == 392_702
    for label in ("entailment", "neutral"):
        (tmp_path / "test.en.tsv").write_text(f"pair_id\tpremise\thypothesis\tlabel\n1\ta\tb\t{label}\n")
    assert count_rows(json.dumps(xnli | {"root": str(tmp_path)}), "en", "test") == 1
    assert (
        count_rows(
            json.dumps(
                {"_target_": "xling.data.sources.hub_sets.HubSource", "name": "x/y", "columns": {}, "splits": {}}
            ),
            "en",
            "test",
        )
        is None
    )


def test_a_gpu_is_reckoned_with_where_it_is_asked_for():
    assert flop_rate("gpu") > flop_rate("cpu") > 0


def test_free_space_is_asked_of_the_nearest_folder_there_is(tmp_path):
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_time_is_measured_where_the_study_has_finished_runs(make_config, tmp_path):
    config = make_config()
    assert "rule of thumb" in phrase_hours(tmp_path / "test", [config])
    train(config)
    other = config.changed(freeze=plan_freezing("top_k", k=1))
    assert "for 1 runs, one after another; by the mean of 1 finished runs" in phrase_hours(tmp_path / "test", [other])
    assert "nothing is left" in phrase_hours(tmp_path / "test", [])


def test_an_unknown_encoder_is_not_guessed(make_config, tmp_path):
    config = make_config("model=encoder", "model.name_or_path=somebody/unheard-of")
    assert estimate_seconds(config) is None
    assert "unknown for 1 of 1" in phrase_hours(tmp_path, [config])
    assert phrase_disk([config]) == ["Disk: unknown: encoder or data are not on this machine"]


def test_states_are_those_a_start_would_meet(make_config, tmp_path, capsys):
    config = make_config("trainer.precision=auto")
    key = run_key(config)
    assert key == RunKey("en", "none", 42)
    assert planned_state(tmp_path / "test", key, config).state == "to do"
    train(config)
    assert planned_state(tmp_path / "test", key, config).state == "done"
    other = config.changed(optimizer={"learning_rate": 0.5})
    refused = planned_state(tmp_path / "test", key, other)
    assert refused.state == "refused"
    assert "learning_rate=0.001, now optimizer.learning_rate=0.5" in refused.reason
    print_dry_run([other, other])
    printed = capsys.readouterr().out
    assert "1 runs: 1 refused" in printed
    assert "1 of 2 jobs ask for a run that another one asks for too" in printed


def test_settings_that_others_refer_to_tell_no_run_from_another(make_config, tmp_path):
    config = make_config(
        "freeze=random_k", "freeze.k=1", "+frozen_layers=[1]"
    )  # as a random set of another experiment has it
    assert config.named == {"frozen_layers": [1]}
    directory = RunDirectory.of(tmp_path, **identity_of(config))
    directory.path.mkdir(parents=True)
    directory.write_settings(config)
    directory.check_settings(make_config("freeze=random_k", "freeze.k=1"))
    directory.check_settings(make_config("freeze=random_k", "freeze.k=1", "+frozen_layers=[2]", "+frozen_blocks=1"))
    with pytest.raises(
        XlingValueError, match=r"freeze\.k=1, now freeze\.k=2"
    ):  # what is referred to counts where it is used
        directory.check_settings(make_config("freeze=random_k", "+frozen_blocks=2"))


SMALL = ["model=tiny_bert", "study=s", "data.source.n_premises={train: 20, probe: 8}", "trainer.accelerator=cpu"]


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0


def test_a_dry_run_prints_the_sweep_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "source_language=en,de", "seed=1,2", "freeze=none,top_k", f"cache_dir={tmp_path}/cache"]
    assert call(monkeypatch, "-m", *arguments, "dry_run=true") == 0
    assert "8 runs: 8 to do" in capsys.readouterr().out
    assert call(monkeypatch, *SMALL, "dry_run=true") == 0
    assert "1 runs: 1 to do" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("experiment", "n_runs"),
    [
        ("freezing", 14),
        ("interventions", 6),
        ("trajectory", 6),
        ("trajectory_e5_small", 2),
        ("paper", 2),
        ("demo", 2),
    ],
)
def test_every_study_is_one_command(experiment, n_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fewer = ["source_language=en,de", *(["seed=1"] if experiment in ("freezing", "interventions") else [])]
    assert call(monkeypatch, "-m", f"experiment={experiment}", *fewer, "dry_run=true") == 0
    printed = capsys.readouterr().out
    assert f"{n_runs} runs: {n_runs} to do" in printed
    assert "Time: about" in printed
    assert list(tmp_path.iterdir()) == []


def test_controls_are_as_many_as_the_sets_they_control(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    strategies = "freeze=bottom_blocks,top_k,random_k,random_k_2,random_k_3"
    one = ["frozen_blocks=2", "source_language=en", "seed=1"]
    assert call(monkeypatch, "-m", "experiment=freezing", strategies, *one, "dry_run=true") == 0
    printed = capsys.readouterr().out
    for name in ("bottom_2_no_embeddings", "top_2", "random_2_seed1", "random_2_seed2", "random_2_seed3"):
        assert name in printed


def test_a_dry_run_of_a_sweep_that_cannot_be_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "-m", *SMALL, "freeze.strategy=none,bottom", "dry_run=true") == 1
    assert "unknown freezing strategy 'bottom'" in capsys.readouterr().err


def test_a_sweep_notes_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_less = [*SMALL, "data.languages=[en,de]", "trainer.max_epochs=1", f"cache_dir={tmp_path}/cache"]
    call(monkeypatch, "-m", *train_less, "source_language=xx", "seed=1,2")
    assert read_plan(tmp_path / "runs" / "s") == {RunKey("xx", "none", 1), RunKey("xx", "none", 2)}


def test_another_sweeper_is_refused():
    from omegaconf import OmegaConf

    from xling.sweeps.expand import expand_sweep

    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "hydra_plugins.optuna.Sweeper"}}})
    with pytest.raises(XlingValueError, match="cannot be known beforehand; use hydra/sweeper=basic"):
        expand_sweep(config)
