"""Run by test_intervening_ddp.py in each process: seeded fits with an intervention each; rank 0 saves the final weights."""

import os
import sys
import warnings

import pytorch_lightning as pl
import torch
from strangers import Tagger, make_trainer
from torch.utils.data import DataLoader, DistributedSampler

from xling.callbacks import Anchor, GradualUnfreezing, ImpactBudget, ImpactMonitor, LayerwiseRates, PullToBase

warnings.filterwarnings("ignore")

FORWARD = {"forward": lambda module, batch: module.loss(batch)}


def interventions() -> dict:
    text = list(DataLoader(Tagger().data(12), batch_size=6))
    return {
        "anchor": Anchor(5.0, **FORWARD),
        "anchor on other text": Anchor(5.0, form="cka", batches=text, **FORWARD),
        "l2_sp": PullToBase(0.5),
        "layerwise_lr": LayerwiseRates(0.5),
        "gradual": GradualUnfreezing(3),
        "budget": ImpactBudget(1e-3, "1"),
    }


def fit(folder: str, n_processes: int, callback: pl.Callback) -> dict[str, torch.Tensor]:
    pl.seed_everything(3, verbose=False)
    module = Tagger()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.1)
    places = (
        {"strategy": "ddp_find_unused_parameters_true", "devices": n_processes} if n_processes > 1 else {"devices": 1}
    )
    trainer = make_trainer(folder, [ImpactMonitor(), callback], **places)
    data, rank = module.data(32), int(os.environ.get("RANK", 0))
    sampler = DistributedSampler(data, n_processes, rank, shuffle=False)
    trainer.fit(module, DataLoader(data, batch_size=8 // n_processes, sampler=sampler), DataLoader(data, batch_size=4))
    return {name: value.cpu().clone() for name, value in module.state_dict().items()}


def main(folder: str, n_processes: int) -> None:
    weights = {name: fit(f"{folder}/{name}", n_processes, callback) for name, callback in interventions().items()}
    if int(os.environ.get("RANK", 0)) == 0:
        torch.save(weights, f"{folder}/weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
