"""What a run says of itself while it goes on and when it fails."""

import os
import socket
import subprocess
import sys

import pytest

from xling.errors import CorruptArtefactError
from xling.runs.directory import RunDirectory
from xling.runs.state import (
    FAILURE_FILE,
    PROGRESS_FILE,
    clear_state,
    is_locked,
    read_failure,
    read_progress,
    write_failure,
    write_progress,
)


def test_progress_comes_back_with_process_and_machine(tmp_path):
    write_progress(tmp_path, epoch=1.5, step=30, total_steps=60, elapsed_s=12.345)
    progress = read_progress(tmp_path)
    assert (progress.epoch, progress.step, progress.total_steps, progress.elapsed_s) == (1.5, 30, 60, 12.3)
    assert (progress.pid, progress.host) == (os.getpid(), socket.gethostname())
    assert progress.updated_at.endswith("+00:00")


def test_of_a_failure_the_first_line_is_kept(tmp_path):
    write_failure(tmp_path, "the loss became nan at step 7\nTraceback ...")
    assert read_failure(tmp_path).reason == "the loss became nan at step 7"


def test_nothing_is_read_where_nothing_was_written_or_it_was_cleared(tmp_path):
    assert read_progress(tmp_path) is None
    write_progress(tmp_path, epoch=0, step=0, total_steps=1, elapsed_s=0)
    write_failure(tmp_path, "broken")
    clear_state(tmp_path)
    assert read_failure(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "read"), [(PROGRESS_FILE, read_progress), (FAILURE_FILE, read_failure)])
def test_another_file_of_that_name_is_refused(tmp_path, name, read):
    (tmp_path / name).write_text('{"what": 1}')
    with pytest.raises(CorruptArtefactError, match="does not hold the fields of a"):
        read(tmp_path)


def test_a_lock_is_seen_from_another_process_and_ends_with_its_process(tmp_path):
    assert not is_locked(tmp_path)
    hold = "import fcntl, sys\nf = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        holder.stdout.readline()
        assert is_locked(tmp_path)
        holder.kill()
    assert not is_locked(tmp_path)


def test_the_lock_of_a_run_directory_is_the_one_asked_for(tmp_path):
    run = RunDirectory(tmp_path)
    with run.lock():
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
