"""CKA in a loop of one's own, without Lightning. `python examples/plain_pytorch.py`"""
import torch
from torch import nn

from xling.metrics import CKA

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 2))
inputs = torch.randn(1000, 20)
labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
with torch.no_grad():
    before = model[:2](inputs)  # the hidden layer before training

optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(5):
    for rows in torch.randperm(1000).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    cka = CKA(debiased=True)
    with torch.no_grad():
        for rows in torch.arange(1000).split(64):  # streamed: never all rows at once
            cka.update(before[rows], model[:2](inputs[rows]))
    print(f"epoch {epoch + 1}  impact {1 - cka.compute():.4f}")
