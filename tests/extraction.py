"""Extracts representations without callbacks, to compare with what callbacks read; and a module whose rows have premises."""

import torch
from strangers import Tagger, loaders


def extract(module):
    """Compute every layer's pooled output over the validation data, without callbacks."""
    return extract_from(module, loaders(module)[1])


def extract_from(module, loader):
    from xling.models.layers import output_of
    from xling.probing.select import select_layers

    layers, collected = select_layers(module, module.layers), {}
    handles = [
        part.register_forward_hook(lambda m, i, o, label=label: collected.setdefault(label, []).append(output_of(o)))
        for label, part in layers.items()
    ]
    module.eval()
    masks = []
    with torch.no_grad():
        for batch in loader:
            module.loss(batch)
            masks.append(batch["attention_mask"] if isinstance(batch, dict) and "attention_mask" in batch else None)
    module.train()
    for handle in handles:
        handle.remove()
    return [torch.cat([pool(h, m) for h, m in zip(batches, masks, strict=True)]) for batches in collected.values()]


def pool(hidden, mask):
    if hidden.dim() == 2:
        return hidden
    if hidden.dim() == 4:
        return hidden.mean((2, 3))
    rows = [row[kept.bool()].mean(0) for row, kept in zip(hidden, mask, strict=True)]
    return torch.stack(rows)


class Premised(Tagger):
    """A module whose rows come in groups of three on one premise, scattered; a key of the batch names the premise."""

    def data(self, n=40):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
        return [row | {"premise": order[i] // 3} for i, row in enumerate(super().data(n))]


PREMISES = torch.tensor([int(row["premise"]) for row in Premised().data(26)])
