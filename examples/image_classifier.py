"""How far does training move each layer of a CNN? `python examples/image_classifier.py`"""
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from xling.callbacks import ImpactMonitor


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU())
        self.head = nn.Linear(16, 2)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.head(self.features(batch[0]).mean(dim=(2, 3))), batch[1])

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


stripes, is_across = torch.rand(256, 1, 1, 12).expand(-1, 1, 12, 12), torch.randint(0, 2, (256,))
data = TensorDataset(torch.where(is_across.bool()[:, None, None, None], stripes.mT, stripes), is_across)
monitor = ImpactMonitor(layers="features.[02]")
pl.Trainer(max_epochs=3, callbacks=[monitor]).fit(Classifier(), DataLoader(data, 32, shuffle=True), DataLoader(data, 64))
print(*(f"epoch {r['epoch']:.0f}  {r['label']}  impact {r['impact']:.4f}" for r in monitor.records), sep="\n")
