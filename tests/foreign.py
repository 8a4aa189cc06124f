"""Fits modules as any user would, under Trainer's defaults, except for those that write to the screen or use an accelerator."""

import pytorch_lightning as pl
from torch.utils.data import DataLoader


def default_trainer(folder, callbacks=(), **changes):
    settings = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return pl.Trainer(callbacks=list(callbacks), **(settings | changes))


def fit_by_default(module, folder, callbacks=(), validation=None, training=None, ckpt_path=None, **changes):
    """Fit a module of :mod:`strangers`, on its own data unless others are given; returns the trainer."""
    trainer = default_trainer(folder, callbacks, **changes)
    training = DataLoader(module.data(40), batch_size=8) if training is None else training
    validation = DataLoader(module.data(26), batch_size=8) if validation is None else validation
    trainer.fit(module, training, validation, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return trainer
