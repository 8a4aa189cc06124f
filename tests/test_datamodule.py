"""The data module: a loader per target, groups, and what it refuses."""

import pytest
import torch
from made_up_examples import TASK, make_examples

from xling.data.datamodule import TransferDataModule
from xling.data.lazy_tokenizer import LazyTokenizer
from xling.errors import XlingValueError
from xling.models.tiny import tiny_tokenizer


def make_datamodule(tmp_path, tokenizer=None, **changes):
    arguments = {
        "source_language": "en",
        "target_languages": ["en", "de"],
        "train_split": "train",
        "probe_split": "dev",
        "cache_dir": tmp_path / "cache",
    }
    return TransferDataModule(
        lambda language, split: make_examples(30, f"{language} {split}"),
        TASK,
        tiny_tokenizer() if tokenizer is None else tokenizer,
        **(arguments | changes),
    )


def test_datamodule_gives_a_loader_per_target(tmp_path):
    data = make_datamodule(tmp_path, train_limit=15, probe_limit=9, batch_size=4)
    data.setup("fit")
    assert len(data.train) == 15
    assert list(data.val_dataloader()) == ["en", "de"]
    assert sum(len(batch["label"]) for batch in data.val_dataloader()["de"]) == 9
    assert len({*data.probe_fingerprints.values()}) == 2


def test_groups_of_a_probe_set_are_memory_of_their_own(tmp_path):
    """torch warns of tensors over Arrow's memory, which nobody may write to."""
    for data in (make_datamodule(tmp_path), make_datamodule(tmp_path)):  # tokenised, and opened from the cache
        data.setup("fit")
        ids, groups = data.probe_groups("de")
        expected = ids.clone()
        ids += 1
        groups += 1
        assert torch.equal(data.probe_groups("de")[0], expected)


def test_datamodule_refuses_to_probe_what_it_trains_on(tmp_path):
    with pytest.raises(XlingValueError, match="both 'dev'"):
        make_datamodule(tmp_path, train_split="dev")
    with pytest.raises(XlingValueError, match="names a language twice"):
        make_datamodule(tmp_path, target_languages=["en", "en"])


def test_a_tokenizer_is_not_loaded_for_examples_that_are_tokenised(tmp_path):
    def read(load, key="key"):
        data = make_datamodule(tmp_path, tokenizer=LazyTokenizer(load, key))
        data.setup("fit")
        return next(iter(data.val_dataloader()["de"]))["input_ids"]

    def refuse():
        raise AssertionError("loaded")

    first = read(tiny_tokenizer)
    assert torch.equal(read(refuse), first)
    with pytest.raises(AssertionError, match="loaded"):
        read(refuse, key="other files")


def test_a_probe_set_that_lacks_some_rows_is_still_parallel_to_one_that_has_them(tmp_path):
    data = make_datamodule(tmp_path)
    data.source = lambda language, split: make_examples(30, f"{language} {split}").iloc[3 if language == "de" else 0 :]
    data.setup("fit")
    assert data.is_parallel("en", "de")
    assert not data.is_parallel("de", "en")
