"""How long training itself takes."""

import time

import torch
from strangers import Tagger, fit, loaders, make_trainer

import xling.callbacks


def test_the_clock_counts_training_alone(tmp_path):
    class SlowValidation(Tagger):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            time.sleep(0.2)

    clock, module = xling.callbacks.TrainingClock(), SlowValidation()
    started = time.monotonic()
    make_trainer(tmp_path, [clock]).fit(module, *loaders(module))
    assert 0 < clock.seconds < time.monotonic() - started - 8 * 0.2


def test_the_clock_goes_on_after_an_interruption(tmp_path):
    before, after = xling.callbacks.TrainingClock(), xling.callbacks.TrainingClock()
    first = fit("mlp", tmp_path, [before], max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    (state,) = saved["callbacks"].values()
    state["seconds"] += 1000
    torch.save(saved, tmp_path / "b.ckpt")
    make_trainer(tmp_path, [after]).fit(first.module, *loaders(first.module), ckpt_path=tmp_path / "b.ckpt")
    assert after.seconds > 1000 + before.seconds
