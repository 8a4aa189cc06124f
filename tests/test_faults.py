"""The fault script, reduced: a real sweep, killed and disturbed, gives what an undisturbed one gives."""

import pytest

from faults.__main__ import run
from faults.kills import phase
from faults.report import Fault, format_table


@pytest.mark.slow
def test_a_disturbed_sweep_gives_what_an_undisturbed_one_gives(tmp_path):
    faults = run(tmp_path, ("kill", "sigterm", "twice", "nan"), n_kills=5, n_signals=2)
    assert [difference for fault in faults for difference in fault.differences] == []
    assert faults[0].times == 5


def test_a_stack_says_what_a_process_was_doing():
    assert phase(
        'File "xling/training/checkpoints.py", line 30 in save_checkpoint\nFile "loops/training_epoch_loop.py"'
    ) == ("writing a checkpoint")
    assert phase("") == "start or end of a run"


def test_every_difference_is_listed_under_the_table():
    table = format_table([Fault("kill -9", 2, ["en/none/seed_1/weights"], "hit")])
    assert "| kill -9 | 2 | 1 | hit |" in table
    assert table.endswith("- kill -9: en/none/seed_1/weights")
