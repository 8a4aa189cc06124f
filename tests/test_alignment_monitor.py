"""How alike parallel loaders are, layer by layer: paired by example, over groups, and why not where they are not parallel."""

import math

import pytest
import pytorch_lightning as pl
from extraction import PREMISES, Premised, extract_from
from strangers import Tagger, loaders, make_trainer
from torch.utils.data import DataLoader

from xling.callbacks import AlignmentMonitor
from xling.errors import XlingValueError
from xling.similarity import linear_cka


def test_alignment_compares_parallel_loaders_example_by_example(tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = Tagger(), AlignmentMonitor("en", similarity=["cka_debiased"])
    rows = module.data(26)
    other = [row | {"input_ids": (row["input_ids"] + 7) % 50} for row in rows]  # another language, say
    validation = {"en": DataLoader(rows, 8), "de": DataLoader(other, 5)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    last = [record["cka_debiased"] for record in monitor.records if record["step"] == 10]
    english, german = (extract_from(module, loader) for loader in validation.values())
    expected = [float(linear_cka(x.double(), y.double(), debiased=True)) for x, y in zip(english, german, strict=True)]
    assert last == pytest.approx(expected, abs=2e-6)
    assert {record["loader"] for record in monitor.records} == {"de"}


def test_alignment_of_loaders_that_are_not_parallel_is_nan_with_its_reason(tmp_path):
    module, monitor = Tagger(), AlignmentMonitor("en")
    validation = {"en": DataLoader(module.data(20), 8), "de": DataLoader(module.data(26), 8)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    assert all(math.isnan(record["cka_debiased"]) for record in monitor.records)
    assert "6 example ids are not among those of en" in monitor.records[0]["reason"]


def test_alignment_of_loaders_without_a_common_example_is_nan_too(tmp_path):
    class Named(Tagger):
        def example_ids(self, batch):
            return batch["id"]

    module, monitor = Named(), AlignmentMonitor("en")
    rows = {
        name: [row | {"id": start + i} for i, row in enumerate(module.data(20))]
        for name, start in (("en", 0), ("de", 100))
    }
    validation = {name: DataLoader(examples, 8) for name, examples in rows.items()}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    assert all(math.isnan(record["cka_debiased"]) for record in monitor.records)
    assert "20 example ids are not among those of en" in monitor.records[0]["reason"]


def test_the_reference_must_come_first(tmp_path):
    module = Tagger()
    with pytest.raises(XlingValueError, match="expected the reference loader 'de' first, found 'en'"):
        validation = {"en": DataLoader(module.data(20), 8), "de": DataLoader(module.data(20), 8)}
        make_trainer(tmp_path, [AlignmentMonitor("de")]).fit(module, loaders(module)[0], validation)


def test_alignment_is_debiased_over_the_references_groups(tmp_path):
    pl.seed_everything(3, verbose=False)
    module, monitor = Premised(), AlignmentMonitor("en", groups="premise")
    rows = module.data(26)
    other = [row | {"input_ids": (row["input_ids"] + 7) % 50} for row in rows]
    validation = {"en": DataLoader(rows, 8), "de": DataLoader(other, 5)}
    make_trainer(tmp_path, [monitor]).fit(module, loaders(module)[0], validation)
    last = [record for record in monitor.records if record["step"] == 10]
    english, german = (extract_from(module, loader) for loader in validation.values())
    for record, x, y in zip(last, english, german, strict=True):
        for measure, groups in (("cka_grouped", PREMISES), ("cka_debiased", None)):
            value = linear_cka(x.double(), y.double(), debiased=True, groups=groups)
            assert record[measure] == pytest.approx(float(value), abs=2e-6)
