"""Makes runs on a model and on data that lie in folders and can be exchanged for others."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from transformers import BertModel

from faults.sweeps import Forked
from xling.models.tiny import tiny_config, tiny_tokenizer
from xling.runs.directory import RunDirectory
from xling.settings import RunSettings


def save_model(folder: Path, seed: int) -> None:
    """Save a tiny encoder with its tokenizer; another `seed` gives other weights."""
    torch.manual_seed(seed)
    BertModel(tiny_config("bert")).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def write_data(folder: Path, word: str) -> None:
    """Write examples of two labels in two languages; another `word` gives other texts."""
    folder.mkdir(exist_ok=True)
    for split, n in (("train", 48), ("test", 16)):
        for language in ("en", "de"):
            rows = [f"this is {word} {split} {language} {i}\t{('good', 'bad')[i % 2]}" for i in range(n)]
            (folder / f"{split}.{language}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")


def compose_local(root: Path, *overrides: str) -> RunSettings:
    """Compose the settings of a run on ``root/model`` and ``root/data``."""
    settings = (
        "data=text_files", f"data.root={root / 'data'}", "data.languages=[en,de]", "data.columns={text: text, label: label}",
        "model=encoder", "model.name=local", f"model.name_or_path={root / 'model'}", "model.pooling=mean", "study=local",
        "data.batch_size=4", "data.max_length=32", "optimizer.learning_rate=1e-3", "trainer.max_epochs=3",
        "trainer.accelerator=cpu", "trainer.precision=32-true", f"output_dir={root / 'runs'}", f"cache_dir={root / 'cache'}",
        "checkpoint.every_n_steps=1", "data.max_length=32", "trainer.log_every_n_steps=2",
    )  # fmt: skip
    with initialize_config_module("xling.conf", version_base="1.3"):
        config = compose("train", [*settings, *overrides])
        return RunSettings.from_plain(OmegaConf.to_container(config, resolve=True))


def run_of(settings: RunSettings) -> RunDirectory:
    """Give the directory of a run."""
    key = (settings.source_language, settings.freeze.name, settings.seed)
    return RunDirectory.of(settings.output_dir, settings.study, *key)


def start(root: Path, settings: RunSettings) -> Forked:
    """Train in a forked process; a user's error is one line and status 1, as in a command."""

    def work() -> None:
        from xling.commands.train import train
        from xling.errors import XlingError

        try:
            train(settings)
        except XlingError as error:
            print(f"error: {error}", flush=True)
            raise SystemExit(1) from None

    return Forked(root, work)
