"""A step's loss and gradient are those of its whole batch, however the batch is cut into parts."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from xling.machine.distributed import StepMeanLoss

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(7, 3, generator=GENERATOR), torch.randn(7, generator=GENERATOR)


class Regression(StepMeanLoss, pl.LightningModule):
    """Least squares; an empty part has a graph and no rows."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def training_step(self, batch, batch_idx):
        x, y = ROWS[0][batch], ROWS[1][batch]
        loss = self.step_mean(((x @ self.weight - y) ** 2).sum(), len(batch))
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, fused=True)


def _tensors(parts):
    return [torch.tensor(list(rows), dtype=torch.int64) for rows in parts]


def fit(parts, accumulate, tmp_path, **settings):
    module = Regression()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        **({"gradient_clip_val": 0.5} | settings),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, DataLoader(parts, batch_size=None))
    return module.weight.detach(), trainer.callback_metrics["train/loss"]


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        ([range(6)], [range(2), range(2, 6)]),  # unequal parts
        ([range(6)], [range(6), []]),  # an empty part
        ([range(4), range(4, 6)], [range(3), [3], range(4, 6)]),  # the last step has fewer parts
    ],
)
def test_parts_of_a_step_weigh_by_their_items(whole, parts, tmp_path):
    expected, loss = fit(_tensors(whole), 1, tmp_path)
    found, its_loss = fit(_tensors(parts), 2, tmp_path)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(its_loss, loss)


def test_the_loss_of_one_part_is_the_plain_mean(tmp_path):
    _, loss = fit(_tensors([range(3)]), 1, tmp_path)
    expected = nn.functional.mse_loss(ROWS[0][:3] @ torch.ones(3), ROWS[1][:3])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("algorithm", "order"), [("norm", 2), ("value", torch.inf)])
def test_a_fused_optimizer_follows_the_clipped_gradient(tmp_path, precision, algorithm, order):
    clipped = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm, "precision": precision}
    weight, _ = fit(_tensors([range(6)]), 1, tmp_path, **clipped)
    assert torch.linalg.vector_norm(weight - 1, order).item() == pytest.approx(0.1 * 0.01, rel=1e-3)
