"""Run by test_distributed.py in each process: a seeded fit with all observers; rank 0 prints what they recorded."""

import json
import os
import sys
import warnings

import pytorch_lightning as pl
import torch
from strangers import Tagger, make_trainer
from torch.utils.data import DataLoader, DistributedSampler

from xling.callbacks import AlignmentMonitor, ImpactMonitor, LinearProbes, RepresentationWriter

warnings.filterwarnings("ignore")


def main(folder: str, n_processes: int) -> None:
    """25 validation rows over 2 processes: a partial last batch and one row repeated by the sampler."""
    pl.seed_everything(3, verbose=False)
    module = Tagger()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.1)
    impact = ImpactMonitor(similarity=["rsa"])
    alignment = AlignmentMonitor("a")
    probes = LinearProbes(labels=lambda batch: batch["tags"][:, 0])
    rows = module.data(25)
    other = [row | {"input_ids": (row["input_ids"] + 7) % 50} for row in rows]
    distributed = (
        {"strategy": "ddp_find_unused_parameters_true", "devices": n_processes} if n_processes > 1 else {"devices": 1}
    )
    trainer = make_trainer(folder, [impact, alignment, probes, RepresentationWriter(dtype="float32")], **distributed)
    data, rank = module.data(32), int(os.environ.get("RANK", 0))
    sampler = DistributedSampler(data, n_processes, rank, shuffle=False)  # Lightning's own shuffles in training
    train = DataLoader(data, batch_size=8 // n_processes, sampler=sampler)
    trainer.fit(module, train, {"a": DataLoader(rows, batch_size=4), "b": DataLoader(other, batch_size=4)})
    if trainer.is_global_zero:
        print(
            "RECORDS "
            + json.dumps({"impact": impact.records, "alignment": alignment.records, "probes": probes.records})
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
