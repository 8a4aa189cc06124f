"""Fine-tuned runs as Hugging Face folders: the Auto classes load them, and give what the run's own module gives."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec

import pandas as pd
import pytest
import torch
import yaml
from task_files import TAGS, make_task_config, write_ner, write_pud, write_squad
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    dynamic_module_utils,
)

import xling
from xling.commands.export import main
from xling.commands.train import train
from xling.errors import MissingFileError, XlingValueError
from xling.exporting.models import as_transformers_model
from xling.interventions import parse_shares
from xling.models import EncoderSpec, load_encoder, take_pooler
from xling.models.tiny import TINY
from xling.runs.directory import RunDirectory
from xling.runs.packs import pack_folder, write_pack
from xling.tasks import QuestionAnswering, SentenceClassification, TokenClassification
from xling.training.finished import load_finetuned, load_run
from xling.training.restoring import Restoration, base_state, restore_run

TASKS = {
    "sentences": (SentenceClassification(labels=("no", "yes", "maybe")), AutoModelForSequenceClassification),
    "words": (TokenClassification(labels=("NOUN", "VERB")), AutoModelForTokenClassification),
    "questions": (QuestionAnswering(), AutoModelForQuestionAnswering),
}
WITH_ANOTHER_HEAD = {("words", "modernbert"), ("questions", "modernbert")} | {
    ("questions", name) for name in ("t5", "mt5", "umt5")
}
"""Where transformers' own class has more than a linear map over the encoder alone."""


@pytest.fixture(autouse=True)
def own_modules_folder(tmp_path, monkeypatch):
    """Code of exported folders is copied into a cache before it is imported."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def make_module(task, architecture="bert", pooling="mean", pooler=False):
    spec = EncoderSpec("tiny", architecture, weights="tiny", pooling=pooling, pooler=pooler)
    encoder = load_encoder(spec, "unused")
    settings = {"pooling": pooling, "pooler": take_pooler(encoder) if pooler else None}
    module = task.module(encoder, **settings, target_languages=["en"], learning_rate=1e-3)
    torch.nn.init.normal_(module.head.classifier.weight)
    torch.nn.init.normal_(module.head.classifier.bias)
    return module.eval()


def padded_batch():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 200, (3, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [7], [3]])).long()
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def logits_of(model, batch):
    with torch.no_grad():
        outputs = model(**batch)
    return torch.stack([outputs.start_logits, outputs.end_logits], -1) if "start_logits" in outputs else outputs.logits


def assert_gives_the_same(module, model):
    batch = padded_batch()
    with torch.no_grad():
        expected = module(batch)
    found, real = logits_of(model, batch), batch["attention_mask"].bool()
    if expected.dim() == 3:
        expected, found = expected[real], found[real]
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", TINY)
def test_a_saved_model_gives_the_modules_logits(task, architecture, tmp_path):
    data, auto_class = TASKS[task]
    module = make_module(data, architecture)
    as_transformers_model(module).save_pretrained(tmp_path)
    is_own = task == "sentences" or (task, architecture) in WITH_ANOTHER_HEAD
    model = auto_class.from_pretrained(tmp_path)
    assert (model.config.model_type == "xling") == is_own
    assert_gives_the_same(module, model.eval())


@pytest.mark.parametrize(
    ("architecture", "pooling", "pooler", "is_own"),
    [("bert", "cls", True, False), ("bert", "cls", False, True), ("xlm-roberta", "cls", True, True)],
)
def test_a_pooler_and_the_first_token_are_exported(architecture, pooling, pooler, is_own, tmp_path):
    module = make_module(TASKS["sentences"][0], architecture, pooling, pooler)
    as_transformers_model(module).save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert (model.config.model_type == "xling") == is_own
    assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert_gives_the_same(module, model.eval())


def test_the_exported_model_can_be_trained_further(tmp_path):
    model = as_transformers_model(make_module(TASKS["sentences"][0])).train()
    outputs = model(**padded_batch(), labels=torch.tensor([0, 1, 2]), output_hidden_states=True)
    outputs.loss.backward()
    assert len(outputs.hidden_states) == 4
    assert all(parameter.grad is not None for parameter in model.parameters())


SMALL = ["model=tiny_bert", "study=test", "data.languages=[en,de,sw]", "data.source.n_premises={train: 30, probe: 12}",
         "optimizer.learning_rate=1e-2", "trainer.max_epochs=1", "trainer.accelerator=cpu",
         "trainer.precision=32-true"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache_dir):
    """The directory of a run on sentences, which the tests do not change."""
    with warnings.catch_warnings(action="ignore"):
        return xling.train([*SMALL, f"output_dir={tmp_path_factory.mktemp('runs')}", f"cache_dir={cache_dir}"]).path


@pytest.fixture
def made(trained, tmp_path):
    """A copy of it."""
    shutil.copytree(trained.parents[3], tmp_path / "runs")
    return RunDirectory(tmp_path / "runs" / trained.relative_to(trained.parents[3]))


IN_A_FRESH_PROCESS = """
import json, sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts, pairs = sys.argv[1], *map(json.loads, sys.argv[2:])
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
batch = tokenizer(texts, pairs, truncation="only_first", padding=True, return_tensors="pt")
assert "xling" not in sys.modules
print(json.dumps([model(**batch).logits.softmax(-1).tolist(), model.config.id2label]))
"""


def test_a_folder_gives_the_runs_predictions_where_xling_is_not(made, tmp_path):
    folder = xling.export(made, tmp_path / "exported")
    recorded = pd.read_parquet(made.path / "predictions.parquet").query("target_language == 'de' and step > 0")
    config = xling.compose(SMALL)
    examples = config.data.source.make()("de", config.data.probe_split).set_index("example_id")
    examples = examples.loc[recorded["example_id"]]
    texts = [json.dumps(examples[name].tolist()) for name in ("text", "text_pair")]
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, folder, *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    probabilities, labels = json.loads(done.stdout)
    expected = recorded[[f"p_{labels[str(index)]}" for index in range(len(labels))]].to_numpy()
    assert len(expected) > 20
    assert torch.tensor(probabilities).numpy() == pytest.approx(expected, abs=1e-5)
    assert expected.std() > 1e-3


def test_an_exported_folder_says_what_it_is(made, tmp_path):
    folder = xling.export(made.path, tmp_path / "exported")
    _, header, card = (folder / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert (facts["language"], facts["pipeline_tag"]) == (["en"], "text-classification")
    score = pd.read_parquet(made.path / "transfer.parquet").query("target_language == 'sw'")["score"].iloc[-1]
    assert f"| sw | {score:.3f} | 36 |" in card
    assert "Fine-tuning: 90 examples" in card
    assert "trust_remote_code=True" in card
    written = "".join(path.read_text(errors="replace") for path in folder.glob("*") if path.suffix != ".safetensors")
    assert str(made.path.parents[3]) not in written  # no path of this machine


def test_the_cards_code_loads_the_model(made, tmp_path):
    folder = xling.export(made.path, tmp_path / "exported")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace("FOLDER", str(folder)), names)
    assert names["tokenizer"].model_max_length == 128
    assert names["model"].config.pooling == "mean"


def test_the_installed_code_loads_a_folder_without_executing_its_own(made, tmp_path):
    folder = xling.export(made.path, tmp_path / "exported")
    (folder / "modeling_xling.py").write_text("raise RuntimeError('executed')")
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
    assert type(model).__module__ == "xling.exporting.modeling_xling"


PARTS = ["data.parts={train: 0.5, probe: 0.5}", "data.probe_split=probe"]


@pytest.mark.parametrize(
    ("write", "settings", "auto_class"),
    [
        (write_ner, ["data=panx", "data.pattern='train-{language}.tsv'"], AutoModelForTokenClassification),
        (
            write_squad,
            ["data=squad_files", "data.pattern='xquad.{language}.json'", "data.max_length=64"],
            AutoModelForQuestionAnswering,
        ),
    ],
)
def test_runs_on_words_and_questions_become_the_architectures_own_class(write, settings, auto_class, tmp_path):
    write(tmp_path, ["en", "de"])
    run = train(make_task_config(tmp_path, tmp_path, *settings, *PARTS, "source_language=en"))
    folder = xling.export(run, tmp_path / "exported")
    assert not (folder / "modeling_xling.py").exists()
    assert_gives_the_same(load_finetuned(run.path)[1].eval(), auto_class.from_pretrained(folder).eval())


def test_labels_that_the_training_examples_gave_are_exported(tmp_path):
    write_pud(tmp_path, ["en", "de"])
    run = train(make_task_config(tmp_path, tmp_path, "data=ud", "data.task.labels=null", "source_language=en"))
    folder = xling.export(run, tmp_path / "exported")
    names = AutoModelForTokenClassification.from_pretrained(folder).config.id2label
    assert names == dict(enumerate(sorted(TAGS)))


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed: pip install 'xling[lora]'")
def test_adapters_are_merged_into_the_weights(make_config, tmp_path):
    run = train(make_config("trainer.max_epochs=1", "freeze=lora", "optimizer.learning_rate=1e-2"))
    folder = xling.export(run, tmp_path / "exported")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert not [name for name in model.state_dict() if "lora" in name or "base_layer" in name]
    assert_gives_the_same(load_finetuned(run.path)[1].eval(), model.eval())


def test_what_cannot_be_exported_says_why(made, make_config, tmp_path):
    target = tmp_path / "exported"
    with pytest.raises(MissingFileError, match="expected a run directory .* name a seed_"):
        xling.export(tmp_path / "nothing", target)
    write_pack(pack_folder(made.path.parents[2]), tmp_path / "test.xling")
    with pytest.raises(XlingValueError, match="a pack, which holds no weights"):
        xling.export(tmp_path / "test.xling", target)
    without = train(make_config("trainer.max_epochs=1", "keep_checkpoint=false", "seed=2"))
    with pytest.raises(MissingFileError, match="run again with keep_checkpoint=true"):
        xling.export(without, target)
    run = load_run(made.path)
    restore_run(run, base_state(run), [Restoration(parse_shares("1"))], made.path.parents[3])
    records = [path for path in (made.path.parents[3] / "test/en").iterdir() if path.name != "none"]
    with pytest.raises(MissingFileError, match="a record of xling-restore .*, which keeps no weights"):
        xling.export(records[0] / "seed_42", target)
    (made.path / "manifest.json").rename(tmp_path / "manifest.json")
    with pytest.raises(MissingFileError, match="expected a finished run"):
        xling.export(made, target)
    assert not target.exists()


def test_a_folder_with_files_is_left_alone(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(XlingValueError, match="to be a new or an empty folder"):
        xling.export(made, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_heads_of_other_packages_are_refused():
    class Own(torch.nn.Module):
        pass

    with pytest.raises(XlingValueError, match="got Own, whose head transformers has no class for"):
        as_transformers_model(Own())
    module = make_module(TASKS["sentences"][0])
    module.head.pool = lambda states, mask: states.amax(dim=1)
    with pytest.raises(XlingValueError, match="expected pooling mean or cls, got <lambda>"):
        as_transformers_model(module)


def test_the_command_exports_or_says_why_not(made, tmp_path, capsys):
    assert main([str(made.path), str(tmp_path / "exported")]) == 0
    assert "its README.md says how to load it" in capsys.readouterr().out
    assert AutoTokenizer.from_pretrained(tmp_path / "exported").pad_token == "[PAD]"
    assert main([str(made.path), str(tmp_path / "exported")]) == 1
    assert capsys.readouterr().err.startswith("error: expected ")
