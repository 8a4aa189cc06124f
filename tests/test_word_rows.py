"""Rows that are words: the module says which token belongs to which word."""

import pytest
import pytorch_lightning as pl
import torch
from strangers import Tagger, fit, loaders, make_trainer
from torch.utils.data import DataLoader

from xling.callbacks import ImpactMonitor, RepresentationWriter
from xling.errors import XlingValueError
from xling.probing.representations import load_representations


class WordTagger(Tagger):
    """Two tokens a word from the second token on, as far as the mask goes; sentences of differing length."""

    def word_ids(self, batch):
        position = torch.arange(7).expand_as(batch["input_ids"])
        ids = batch["number"][:, None] * 100 + (position - 1) // 2
        return ids.masked_fill((position == 0) | (batch["attention_mask"] == 0), -1)

    def data(self, n=40):
        return [row | {"number": i} for i, row in enumerate(super().data(n))]


@pytest.mark.parametrize("pooling", ["word", "word_mean"])
def test_words_are_rows_of_a_module_that_says_which_they_are(pooling, tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = WordTagger(), ImpactMonitor(pooling=pooling, uncertainty=["jackknife"])
    writer = RepresentationWriter(tmp_path / "rows", pooling=pooling, dtype="float32")
    make_trainer(tmp_path, [monitor, writer]).fit(module, *loaders(module))
    rows = load_representations(tmp_path / "rows" / "step_000010" / "0.safetensors")
    ids = torch.cat([module.word_ids(batch).flatten() for batch in DataLoader(module.data(26), 26)])
    assert rows.example_ids.tolist() == sorted(set(ids.tolist()) - {-1})
    assert monitor.records[-1]["n_examples"] == len(rows.example_ids)
    assert monitor.records[-1]["impact_se"] > 0  # over the 26 sentences
    module.eval()
    with torch.no_grad():
        row = next(iter(DataLoader(module.data(26), 1)))
        hidden = module.encoder(row["input_ids"], attention_mask=row["attention_mask"])[0][0]
    second = hidden[1:3] if row["attention_mask"][0, 2] else hidden[1:2]
    expected = second[0] if pooling == "word" else second.mean(dim=0)
    torch.testing.assert_close(rows.layers["layer_02"][0], expected, atol=1e-5, rtol=1e-5)


def test_words_need_a_module_that_names_them(tmp_path):
    with pytest.raises(XlingValueError, match="Tagger does not say which tokens are which words"):
        fit("tagger", tmp_path, [ImpactMonitor(pooling="word")])
