"""LightningModules that import nothing of xling, as users of the callbacks have them."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertModel


class Stranger(pl.LightningModule):
    """Base class: a plain fine-tuning loop that counts its encoder's forward passes."""

    def __init__(self):
        super().__init__()
        self.forwards = 0

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val/loss", self.loss(batch), batch_size=8)

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-2)


class Mlp(Stranger):
    """A perceptron on batches that are tuples, without a mask."""

    layers = ["body.*"]

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 5))
        self.head = nn.Linear(5, 2)

    def loss(self, batch):
        self.forwards += 1
        x, y = batch
        return nn.functional.cross_entropy(self.head(self.body(x)), y)

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        return TensorDataset(torch.randn(n, 6, generator=generator), torch.randint(0, 2, (n,), generator=generator))


class Cnn(Stranger):
    """A network on dicts of images, with layers of different widths and with batch normalisation, whose modes must be kept."""

    layers = ["features.0", "features.3"]

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3))
        self.head = nn.Linear(6, 2)

    def loss(self, batch):
        self.forwards += 1
        features = self.features(batch["image"]).mean(dim=(2, 3))
        return nn.functional.cross_entropy(self.head(features), batch["target"])

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        images, targets = torch.randn(n, 3, 8, 8, generator=generator), torch.randint(0, 2, (n,), generator=generator)
        return [{"image": image, "target": target} for image, target in zip(images, targets, strict=True)]


class Tagger(Stranger):
    """A Hugging Face encoder with a mask, predicting a tag per token."""

    layers = None

    def __init__(self):
        super().__init__()
        config = BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        self.encoder = BertModel(config, add_pooling_layer=False).train()
        self.head = nn.Linear(16, 3)

    def loss(self, batch):
        self.forwards += 1
        hidden_states = self.encoder(batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        return nn.functional.cross_entropy(self.head(hidden_states).flatten(0, 1), batch["tags"].flatten())

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        ids, tags = (torch.randint(0, top, (n, 7), generator=generator) for top in (50, 3))
        mask = (torch.arange(7) < torch.randint(2, 8, (n, 1), generator=generator)).long()
        return [{"input_ids": i, "attention_mask": m, "tags": t} for i, m, t in zip(ids, mask, tags, strict=True)]


STRANGERS = {"mlp": Mlp, "cnn": Cnn, "tagger": Tagger}


@dataclass
class Fitted:
    """A module after a seeded fit."""

    module: Stranger
    trainer: pl.Trainer

    def weights(self):
        return {name: value.clone() for name, value in self.module.state_dict().items()}


def loaders(module, batch_size=8, n_val_loaders=1):
    """One shuffled training loader, and validation loaders in order; the last batch is smaller."""
    val = [DataLoader(module.data(26), batch_size=batch_size) for _ in range(n_val_loaders)]
    return DataLoader(module.data(40), batch_size=batch_size, shuffle=True), val if n_val_loaders > 1 else val[0]


def make_trainer(folder, callbacks=(), **changes):
    settings = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return pl.Trainer(callbacks=list(callbacks), **(settings | changes))


def fit(kind, folder, callbacks=(), n_val_loaders=1, **changes):
    """Fit one of these modules with a seed, as any user would."""
    pl.seed_everything(3, verbose=False)
    module = STRANGERS[kind]()
    trainer = make_trainer(folder, callbacks, **changes)
    trainer.fit(module, *loaders(module, n_val_loaders=n_val_loaders))
    return Fitted(module, trainer)


class MaskedTagger(Tagger):
    """Changes its batches' mask on the way to whoever looks at the batch; the encoder gets the right one."""

    def __init__(self, change=lambda mask: mask):
        super().__init__()
        self.change = change

    def loss(self, batch):
        return super().loss(batch | {"attention_mask": batch["right"]})

    def data(self, n=40):
        rows = [dict(row) for row in super().data(n)]
        for row in rows:
            mask = row["attention_mask"]
            row |= {"right": mask, "input_ids": row["input_ids"] * mask, "attention_mask": self.change(mask)}
        return rows
