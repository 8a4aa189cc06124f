"""What ``trainer.precision`` becomes, and runs in each precision that this machine computes, natively or not."""

import pytest
import torch

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.machine.run_precision import resolve_precision
from xling.training.parts import resolve_settings


@pytest.mark.parametrize(("name", "expected"), [("32", "32-true"), ("bf16-mixed", "bf16-mixed"), (32, "32-true")])
def test_a_named_precision_stays(name, expected):
    assert resolve_precision(name) == expected


def test_automatic_precision_is_what_the_processor_has(monkeypatch):
    for capabilities, expected in (
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({}, "32-true"),
    ):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda found=capabilities: found)
        assert resolve_precision("auto", "cpu") == expected


def test_unknown_precision_is_named():
    with pytest.raises(XlingValueError, match=r"unknown trainer\.precision 'fp8'"):
        resolve_precision("fp8")


def test_half_precision_is_refused_where_lightning_would_take_another():
    assert not torch.cuda.is_available() or resolve_precision("16-mixed") == "16-mixed"
    with pytest.raises(XlingValueError, match=r"16-mixed needs a GPU; expected auto, bf16-mixed or 32-true"):
        resolve_precision("16-mixed", "cpu")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_run_trains_in_any_precision(make_config, precision):
    run = train(make_config(f"trainer.precision={precision}"))
    assert run.read_manifest()["noise_floor"] == 0.0


def test_a_base_of_lowered_weights_is_not_taken_for_the_full_ones(make_config, tmp_path):
    cache = f"cache_dir={tmp_path}/cache"
    train(make_config("trainer.precision=bf16-true", "study=lowered", cache))
    train(make_config("study=full", cache))
    train(make_config("trainer.precision=bf16-mixed", "study=autocast", cache))
    assert len(list((tmp_path / "cache" / "base").glob("*/"))) == 2


def test_what_auto_is_here_trains(make_config):
    config = make_config("trainer.precision=auto", "trainer.max_epochs=1")
    run = train(config)
    assert f"precision: {resolve_settings(config).trainer.precision}" in (run.path / "config.yaml").read_text()
