"""The base is of the weights before training, whoever validates what afterwards, and is captured whole."""

import math

import pytest
import pytorch_lightning as pl
import strangers
import torch
from foreign import default_trainer, fit_by_default
from torch.utils.data import DataLoader

from xling.callbacks import AlignmentMonitor, ImpactMonitor, RepresentationWriter
from xling.errors import CorruptArtefactError
from xling.probing.base_store import BaseStore
from xling.probing.representations import load_representations

# Lightning's checkpoints of a fit that goes on are written beside the first one's; it says so
pytestmark = pytest.mark.filterwarnings("ignore:(Checkpoint directory|The dirpath has changed).*")


class Mlp(strangers.Mlp):
    """Without dropout: a fit that goes on draws other random numbers."""

    def __init__(self):
        super().__init__()
        self.body[2].p = 0.0


def seeded():
    pl.seed_everything(3, verbose=False)
    return Mlp()


def validation(module):
    return DataLoader(module.data(26), batch_size=8)


def last_impacts(monitor):
    return [record["impact"] for record in monitor.records[-4:]]


def resume(folder, checkpoint, **options):
    monitor = ImpactMonitor("body.*", **options)
    fit_by_default(Mlp(), folder, [monitor], ckpt_path=checkpoint)
    return monitor


@pytest.mark.filterwarnings("ignore:ImpactMonitor measures nothing of '0'.*")
def test_a_validation_of_other_weights_leaves_the_base_alone(tmp_path):
    whole = ImpactMonitor("body.*")
    fit_by_default(seeded(), tmp_path / "whole", [whole])
    half = fit_by_default(seeded(), tmp_path / "half", [ImpactMonitor("body.*")], max_epochs=1)
    path = tmp_path / "half" / "base_representations" / "0.safetensors"
    before = path.read_bytes()
    other = Mlp()
    default_trainer(tmp_path / "half", [ImpactMonitor("body.*")]).validate(other, validation(other), verbose=False)
    assert path.read_bytes() == before
    resumed = resume(tmp_path / "half", half.checkpoint_callback.best_model_path)
    assert last_impacts(resumed) == pytest.approx(last_impacts(whole), abs=1e-6)


def test_a_validation_without_a_base_captures_nothing_and_says_so(tmp_path):
    module, monitor = Mlp(), ImpactMonitor("body.*")
    with pytest.warns(UserWarning, match="ImpactMonitor measures nothing of '0': no fit has captured its base"):
        default_trainer(tmp_path, [monitor]).validate(module, validation(module), verbose=False)
    assert monitor.records == []
    assert not (tmp_path / "base_representations").exists()
    store = BaseStore(tmp_path / "store")
    with pytest.warns(UserWarning, match="no fit has captured"):
        default_trainer(tmp_path, [ImpactMonitor("body.*", base=store)]).validate(
            module, validation(module), verbose=False
        )
    assert not store.has("0")


def test_what_a_validation_of_a_checkpoint_measures_has_no_step(tmp_path):
    module, monitor = seeded(), ImpactMonitor("body.*")
    other = AlignmentMonitor("0", "body.*")
    writer = RepresentationWriter(tmp_path / "rows", "body.*")
    trainer = fit_by_default(module, tmp_path, [monitor, other, writer], [validation(module)] * 2)
    fitted, n = last_impacts(monitor), len(monitor.records)
    before = (tmp_path / "rows" / "step_000010" / "0.safetensors").read_bytes()
    path = trainer.checkpoint_callback.best_model_path
    again = default_trainer(tmp_path, [monitor, other, writer])
    with torch.no_grad():
        module.body[0].weight.zero_()
    again.validate(module, [validation(module)] * 2, ckpt_path=path, weights_only=True, verbose=False)
    assert last_impacts(monitor) == pytest.approx(fitted, abs=1e-6)
    assert all(math.isnan(record["step"]) and math.isnan(record["epoch"]) for record in monitor.records[n:])
    assert len(monitor.records) > n
    assert math.isnan(other.records[-1]["step"])
    assert math.isnan(monitor.noise_floor())
    assert (tmp_path / "rows" / "step_000010" / "0.safetensors").read_bytes() == before
    assert "step" not in load_representations(tmp_path / "rows" / "validate" / "0.safetensors").facts


def test_a_base_overwritten_by_another_fit_is_refused_on_resuming(tmp_path):
    half = fit_by_default(seeded(), tmp_path, [ImpactMonitor("body.*")], max_epochs=1)
    path = half.checkpoint_callback.best_model_path
    fit_by_default(Mlp(), tmp_path, [ImpactMonitor("body.*")], max_epochs=1)  # another initialisation
    with pytest.raises(
        CorruptArtefactError, match="was made with weights = .*, expected .*; delete it or use another folder"
    ):
        resume(tmp_path, path)


def test_a_store_without_fingerprints_is_filled_whole_and_used_again(tmp_path):
    store = BaseStore(tmp_path / "store")
    plain, first, again = ImpactMonitor("body.*"), *(ImpactMonitor("body.*", base=store) for _ in range(2))
    for name, monitor in (("plain", plain), ("first", first), ("again", again)):
        fit_by_default(seeded(), tmp_path / name, [monitor])
    assert load_representations(store.path("0")).example_ids.tolist() == list(range(26))
    assert first.records == plain.records
    assert [record for record in again.records if record["step"]] == plain.records
    assert again.noise_floor() < 1e-6


def test_a_store_that_lacks_one_loader_captures_that_one(tmp_path):
    store = BaseStore(tmp_path / "store", {"a": "1", "b": "2"})
    module = seeded()
    fit_by_default(module, tmp_path, [ImpactMonitor("body.*", base=store)], {"a": validation(module)})
    assert (store.has("a"), store.has("b")) == (True, False)
    module, monitor = seeded(), ImpactMonitor("body.*", base=store)
    fit_by_default(module, tmp_path, [monitor], {"a": validation(module), "b": validation(module)})
    assert load_representations(store.path("b")).example_ids.tolist() == list(range(26))
    assert last_impacts(monitor) == pytest.approx([r["impact"] for r in monitor.records[-8:-4]], abs=1e-6)


def test_a_store_of_another_model_is_refused_before_training(tmp_path):
    store = BaseStore(tmp_path / "store")
    fit_by_default(seeded(), tmp_path, [ImpactMonitor("body.*", base=store)])
    module = Mlp()
    with pytest.raises(CorruptArtefactError, match="was made with weights = "):
        fit_by_default(module, tmp_path, [ImpactMonitor("body.*", base=store)])


def test_a_store_of_another_pooling_is_refused(tmp_path):
    store = BaseStore(tmp_path / "store")
    fit_by_default(seeded(), tmp_path, [ImpactMonitor("body.*", base=store)])
    with pytest.raises(CorruptArtefactError, match="was made with pooling = mean, expected flatten"):
        fit_by_default(seeded(), tmp_path, [ImpactMonitor("body.*", pooling="flatten", base=store)])


def test_another_head_on_the_same_layers_may_use_a_store(tmp_path):
    store = BaseStore(tmp_path / "store")
    fit_by_default(seeded(), tmp_path, [ImpactMonitor("body.*", base=store)])
    module, monitor = seeded(), ImpactMonitor("body.*", base=store)
    module.head = torch.nn.Linear(5, 2)
    fit_by_default(module, tmp_path, [monitor])
    assert monitor.noise_floor() < 1e-6
