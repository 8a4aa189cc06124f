"""Freeze the bottom of a token classifier and watch its layers. `python examples/token_classifier.py`"""
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForTokenClassification, BertConfig

from xling.callbacks import ImpactMonitor, LayerFreezing, RepresentationWriter
from xling.freezing import plan_freezing


class Tagger(pl.LightningModule):
    def __init__(self):
        super().__init__()
        config = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=3, num_attention_heads=2)
        self.model = AutoModelForTokenClassification.from_config(config)  # or .from_pretrained(...)

    def training_step(self, batch, batch_idx):
        return self.model(**batch).loss

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-3)


rows = [{"input_ids": i, "attention_mask": i > 0, "labels": i % 2} for i in torch.randint(5, 100, (200, 12))]
callbacks = [LayerFreezing(plan_freezing("bottom_k", k=1)), monitor := ImpactMonitor(), RepresentationWriter()]
pl.Trainer(max_epochs=3, callbacks=callbacks).fit(Tagger(), DataLoader(rows, 20, shuffle=True), DataLoader(rows[:99], 20))
print(*(f"epoch {r['epoch']:.0f}  {r['label']}  impact {r['impact']:.6f}" for r in monitor.records), sep="\n")
