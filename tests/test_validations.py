"""A run that records nothing never counts as complete."""

import pytest

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.runs.directory import RunDirectory
from xling.training.validations import check_validated


@pytest.mark.parametrize("name", ["limit_val_batches", "limit_train_batches"])
def test_a_limit_of_0_batches_is_refused_before_training(name, make_config):
    config = make_config(f"+trainer.{name}=0")
    with pytest.raises(XlingValueError, match=f"trainer.{name}=0 leaves this run nothing to record"):
        train(config)


def test_a_run_whose_time_is_up_before_its_first_validation_is_not_complete(make_config):
    config = make_config("+trainer.max_time={seconds: 0}")
    with pytest.raises(XlingValueError, match=r"training ended at step \d before any validation.*nothing to record"):
        train(config)
    assert not RunDirectory.of(config.output_dir, "test", "en", "none", 42).is_complete


def test_a_single_row_is_enough():
    check_validated(1, 0)
