"""The code that README and docs show for other people's modules runs as it stands."""

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from strangers import Stranger, Tagger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).parents[1]

# Lightning's default logger is what is installed; it says so
pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboardX.*")


def code_after(heading, file):
    """The first Python block below a heading."""
    _, _, below = (ROOT / file).read_text().partition(heading)
    return re.search(r"```python\n(.*?)```", below, re.S).group(1)


class Images(Stranger):
    """A convolutional network whose layers are `features.0` to `features.4`."""

    def __init__(self):
        super().__init__()
        convolutions = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU()
        self.features, self.head = nn.Sequential(*convolutions), nn.Linear(6, 2)

    def loss(self, batch):
        self.forwards += 1
        return nn.functional.cross_entropy(self.head(self.features(batch[0]).mean(dim=(2, 3))), batch[1])

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        return TensorDataset(
            torch.randn(n, 3, 8, 8, generator=generator), torch.randint(0, 2, (n,), generator=generator)
        )


def test_the_readmes_snippet_runs_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.seed_everything(3, verbose=False)
    module = Images()
    names = {
        "your_module": module,
        "train_loader": DataLoader(module.data(40), 8, shuffle=True),
        "loader_de": DataLoader(module.data(26), 8),
        "loader_sw": DataLoader(module.data(20), 8),
    }
    exec(code_after("## Reuse the callbacks", "README.md"), names)
    records = [record for record in names["monitor"].records if record["epoch"] == 2.0]
    assert {(record["loader"], record["label"]) for record in records} == {
        (loader, f"features.{layer}") for loader in ("de", "sw") for layer in range(5)
    }
    frozen = {record["label"]: record["impact"] for record in records if record["loader"] == "sw"}
    assert frozen["features.0"] == frozen["features.1"] == 0.0
    assert frozen["features.3"] > 1e-6
    assert all(0 < record["svcca"] <= 1 + 1e-9 and record["impact_se"] >= 0 for record in records)
    assert (tmp_path / "representations" / "step_000010" / "de.safetensors").is_file()


def test_the_two_lines_of_own_task_run_and_measure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = Tagger()
    names = {
        "module": module,
        "train_loader": DataLoader(module.data(40), 8),
        "val_loaders": DataLoader(module.data(26), 8),
    }
    code = code_after("# Bring your own task", "docs/own_task.md")
    exec(code.replace("pl.Trainer(", "pl.Trainer(max_epochs=1, "), names)
    assert [record["step"] for record in names["monitor"].records] == [5, 5, 5]
