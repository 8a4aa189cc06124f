"""Where nothing is measured, one warning says so."""

import warnings

import pytest
from foreign import default_trainer
from strangers import Mlp
from torch.utils.data import DataLoader

from xling.callbacks import AlignmentMonitor, ImpactMonitor, RepresentationWriter

PROBES = [
    lambda: ImpactMonitor("body.*"),
    lambda: AlignmentMonitor("0", "body.*"),
    lambda: RepresentationWriter(layers="body.*"),
]


class WithoutValidation(Mlp):
    validation_step = None


def said(run, name):
    """The probe's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(w.message) for w in caught if str(w.message).startswith(name)]


def fit(module, folder, probe, has_loader=True, **changes):
    validation = DataLoader(module.data(26), 8) if has_loader else None
    trainer = default_trainer(folder, [probe], enable_checkpointing=False, **changes)
    trainer.fit(module, DataLoader(module.data(40), 8), validation)


@pytest.mark.parametrize("make", PROBES)
def test_a_fit_without_validation_is_warned_of_once(make, tmp_path):
    for settings in ({"has_loader": False}, {"limit_val_batches": 0}, {"check_val_every_n_epoch": 5}):
        probe = make()
        (message,) = said(lambda p=probe, s=settings: fit(Mlp(), tmp_path, p, **s), type(probe).__name__)
        assert "reads layers in validation alone and measures nothing" in message
        assert "limit_val_batches=0" in message or "check_val_every_n_epoch" in message


@pytest.mark.parametrize("make", PROBES)
@pytest.mark.parametrize("function", ["test", "predict"])
def test_trainer_test_and_predict_are_warned_of_once(function, make, tmp_path):
    module, probe = Mlp(), make()
    module.test_step = module.validation_step
    module.predict_step = lambda batch, batch_idx: None
    run = getattr(default_trainer(tmp_path, [probe]), function)
    (message,) = said(lambda: run(module, DataLoader(module.data(26), 8)), type(probe).__name__)
    assert f"Trainer.{function} runs no validation; use Trainer.validate, or fit" in message


@pytest.mark.parametrize("make", PROBES)
def test_a_fit_with_validation_is_not_warned_of(make, tmp_path):
    probe = make()
    assert said(lambda: fit(Mlp(), tmp_path, probe), type(probe).__name__) == []
