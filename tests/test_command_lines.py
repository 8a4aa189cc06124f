"""Settings that people type: ranges, names, own configuration files, hints; and the commands from Python."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import xling
from xling.checks import language_name
from xling.commands.from_python import analyze, compose, train
from xling.errors import MissingFileError, XlingValueError
from xling.models.limits import check_max_length, check_pieces, max_tokens
from xling.models.tiny import tiny_config
from xling.settings import ObjectSettings
from xling.sweeps.own_configs import check_own_configs, own_folders

TINY = ["model=tiny_bert", "study=test"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed=-1", "expected seed to be a number from 0 to 4294967295, got -1"),
        ("seed=4294967296", "expected seed to be a number from 0"),
        ("seed=1.5", "expected seed to be a whole number"),
        ("seed=null", "expected seed to be a whole number"),
        ("seed=abc", "expected seed to be a whole number"),
        ("data.max_length=0", r"expected data\.max_length to be a number 3 or more, got 0"),
        ("data.max_length=2", r"expected data\.max_length to be a number 3 or more"),
        ("data.batch_size=-8", r"expected data\.batch_size to be a number 1 or more"),
        ("data.eval_batch_size=0", r"expected data\.eval_batch_size to be a number 1 or more"),
        ("data.train_limit=0", r"expected data\.train_limit to be a number 1 or more"),
        ("data.num_workers=-1", r"expected data\.num_workers to be a number 0 or more"),
        ("optimizer.learning_rate=-1e-3", r"expected optimizer\.learning_rate to be a number 0 or more"),
        ("optimizer.learning_rate=.inf", r"expected optimizer\.learning_rate to be"),
        ("optimizer.warmup_fraction=1.5", r"expected optimizer\.warmup_fraction to be a number from 0 to 1"),
        ("optimizer.schedule=cosine", r"expected optimizer\.schedule to be linear or constant, got 'cosine'"),
        ("study=null", "expected study to be text, got None"),
        (f"study={'x' * 300}", "expected study to have at most 200 bytes, got 300"),
        ("study=../x", "expected study to be the name of a folder"),
        ("study=''", "expected study to be the name of a folder"),
        ("target_languages=[]", "expected target_languages to be a list of languages or null"),
        ("source_language=null", "expected source_language to be a language's code"),
        ("target_languages=[en,3]", "expected target_languages to be a language's code"),
        ("target_languages=[en,true]", "expected target_languages to be a language's code"),
        ("sead=1", "these settings do not go together: .*sead"),
        ("seed=1,2", "these settings do not go together: .*"),
        ("experiment=demo", "found an experiment that is a sweep over source_language; add hydra.mode=RUN"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(setting, message):
    with pytest.raises(XlingValueError, match=message):
        compose([*TINY, setting])


def test_norwegian_and_min_nan_are_languages():
    assert compose([*TINY, "source_language=nan", "target_languages=[en,no,nan]"]).source_language == "nan"
    assert language_name(False, "source_language") == "no"
    assert compose([*TINY, "target_languages=[false,nan]"]).target_languages == ("no", "nan")


def test_settings_are_composed_without_hydras_runtime():
    settings = compose(["seed=7", "experiment=demo", "hydra.mode=RUN"])
    assert (settings.seed, settings.study) == (7, "demo")
    assert compose(["model=tiny_bert"]).study == "mini_nli_tiny_bert"
    assert xling.compose is compose
    assert xling.train is train
    assert xling.analyze is analyze
    with pytest.raises(XlingValueError, match="expected a list of settings, e.g. "):
        compose("seed=1")


def test_hydra_in_use_is_said():
    from hydra import initialize_config_module

    hydra = initialize_config_module("xling.conf", version_base="1.3")
    with hydra, pytest.raises(XlingValueError, match="which this program uses already"):
        compose(TINY)


def test_a_run_and_its_analysis_from_python(tmp_path, capsys):
    shared = [f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache", "trainer.accelerator=cpu"]
    small = ["data.source.n_premises={train: 8, probe: 12}", "trainer.max_epochs=1", "target_languages=[en,de,sw,ru]"]
    assert not xling.train([*TINY, *shared, *small, "dry_run=true"]).is_complete
    assert "to do" in capsys.readouterr().out
    for language in ("en", "de"):
        assert xling.train([*TINY, *shared, *small, f"source_language={language}"]).is_complete
    drawn = ["permutations=50", "bootstraps=20", f"runs={tmp_path}/runs/test", f"output_dir={tmp_path}/results"]
    assert "correlations" in xling.analyze(drawn).tables
    assert (tmp_path / "results/report.html").is_file()


def test_the_public_names_cost_no_import_before_they_are_used():
    code = "import xling, sys; assert not {'torch', 'hydra', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'tran'"):
        xling.tran  # noqa: B018


# own configuration files


def test_a_file_of_a_shipped_name_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text("name: mine\n")
    check_own_configs(tmp_path)
    (tmp_path / "model/tiny_bert.yaml").write_text("name: mine\n")
    with pytest.raises(XlingValueError, match=r"has the name of a shipped file, model/tiny_bert\.yaml.*my_tiny_bert"):
        compose(TINY, config_dir=tmp_path)
    with pytest.raises(MissingFileError, match="expected a folder with configuration files"):
        check_own_configs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "arguments", [["--config-dir", "X"], ["--config-dir=X"], ["-cd", "X"], ["hydra.searchpath=[file://X,pkg://other]"]]
)
def test_own_folders_are_found_on_a_command_line(arguments):
    assert [str(folder) for folder in own_folders(["seed=1", *arguments])] == ["X"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights: tiny\nname_or_path: bert\npooling: cls\n", r"cannot be resolved: .*model\.name"),
        ("name: mine\nweights: tiny\nname_or_path: bert\n", r"probe\.pooling cannot be resolved: .*model\.pooling"),
        ("name: mine\nweights: tiny\npooling: cls\n", r"expected the setting model\.name_or_path, found none"),
    ],
)
def test_an_own_model_file_that_lacks_a_key_is_one_sentence(tmp_path, text, message):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text(text)
    with pytest.raises(XlingValueError, match=message):
        compose(["model=mine"], config_dir=tmp_path)


def test_a_source_that_cannot_be_made_is_one_sentence():
    with pytest.raises(XlingValueError, match="cannot make xling.data.sources.hub_sets.HubSource: .*columns"):
        ObjectSettings("xling.data.sources.hub_sets.HubSource", {"name": "x"}).make()
    with pytest.raises(XlingValueError, match=r"expected data\.source to name its class by _target_"):
        compose([*TINY, "~data.source._target_"])


def typed(*arguments):
    command = [sys.executable, "-m", "xling.commands.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_failure_under_an_experiment_has_no_false_hint(tmp_path):
    shared = ["-m", "experiment=pawsx", f"data.root={tmp_path}", f"output_dir={tmp_path}/runs", "model=tiny_bert"]
    result = typed(*shared, "model.weights=tiny")
    assert result.returncode == 1
    assert "expected a file" in result.stderr
    assert "unknown key" not in result.stderr
    assert "unknown key 'data.rot'; did you mean 'data.root'" in typed(*shared, "data.rot=x").stderr


@pytest.mark.slow
def test_a_config_dir_with_a_shipped_name_is_refused_by_the_command(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tiny_bert.yaml").write_text("name: mine\n")
    result = typed("--config-dir", str(tmp_path), "model=tiny_bert")
    assert (result.returncode, "has the name of a shipped file" in result.stderr) == (1, True)


# what an encoder takes


def encoder_of(kind, n=40):
    import transformers

    small = {
        "vocab_size": 60,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**small, max_position_embeddings=n))
    if kind == "xlm-roberta":
        return transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**small, max_position_embeddings=n))
    if kind == "distilbert":
        return transformers.DistilBertModel(
            transformers.DistilBertConfig(
                vocab_size=60, dim=8, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=n
            )
        )
    return transformers.GPT2Model(transformers.GPT2Config(vocab_size=60, n_embd=8, n_layer=1, n_head=2, n_positions=n))


@pytest.mark.parametrize(("kind", "limit"), [("bert", 40), ("xlm-roberta", 38), ("distilbert", 40), ("gpt2", 40)])
def test_texts_may_be_as_long_as_an_encoders_positions_and_no_longer(kind, limit):
    encoder = encoder_of(kind)
    assert max_tokens(encoder) == limit
    check_max_length(encoder, limit)
    encoder(input_ids=torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=torch.full((1, limit + 1), 5))
    with pytest.raises(XlingValueError, match=rf"expected data\.max_length to be at most {limit}, .*got {limit + 1}"):
        check_max_length(encoder, limit + 1)


def test_relative_positions_have_no_limit():
    assert max_tokens(nn.Sequential(nn.Embedding(9, 3))) is None
    check_max_length(nn.Linear(2, 2), 10**6)


def test_pieces_without_an_embedding_are_named():
    check_pieces(60, 59, "train.en")
    with pytest.raises(XlingValueError, match=r"train\.en: expected word pieces from 0 to 59, .*found 60"):
        check_pieces(60, 60, "train.en")
    assert tiny_config("bert").vocab_size > 60


def test_a_dollar_in_a_name_is_no_formula():
    import matplotlib.pyplot as plt

    from xling.report.figures.style import RC

    with plt.rc_context(RC):
        figure, axes = plt.subplots()
        axes.set_title(r"a$\foo{$b")
        figure.canvas.draw()
        plt.close(figure)
