"""``xling-cache`` and the marks it goes by: what is listed, what may go, what is kept beside a running job."""

import os
import subprocess
import sys
import time

import pytest

from xling.commands.cache import main
from xling.commands.train import train
from xling.errors import MissingFileError, XlingValueError
from xling.runs.cache_users import find_users
from xling.storage import cache_marks as cache_use
from xling.storage.atomic import TEMPORARY_PREFIX, write_json
from xling.storage.cache import choose_entries, list_entries, remove_entry
from xling.storage.cache_marks import exclusive_use, is_in_use, mark_in_use


@pytest.fixture(autouse=True)
def forget_what_this_process_holds():
    """A run's process ends with its holds; the tests' process does not."""
    yield
    release_all()


def release_all():
    for descriptor in cache_use._held.values():
        os.close(descriptor)
    cache_use._held.clear()


def make_entry(cache, kind="tokenised", name="abc", days=0.0):
    path = cache / kind / name
    write_json(path / "facts.json", {"name": "train.en", "n_examples": 7})
    (path / "rows").write_bytes(b"x" * 1000)
    long_ago = time.time() - days * 86400
    os.utime(path, (long_ago, long_ago))
    return path


HOLDER = """
import sys, time
from pathlib import Path
from xling.storage.cache_marks import mark_in_use
mark_in_use(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder():
    """Start another process that holds an entry; it is killed at the end."""
    started = []

    def start(path):
        started.append(subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_another_process_keeps_an_entry_until_it_dies(tmp_path, holder):
    path = make_entry(tmp_path, days=100)
    process = holder(path)
    (entry,) = list_entries(tmp_path)
    assert entry.is_in_use
    assert entry.idle_days < 0.1
    assert choose_entries([entry], kinds=["tokenised"]) == []
    assert not remove_entry(entry)
    assert (path / "rows").is_file()
    process.kill()  # -9: the kernel lets go
    process.wait()
    assert not is_in_use(path)
    assert remove_entry(entry)
    assert list((tmp_path / "tokenised").iterdir()) == []


def test_an_entry_that_is_held_twice_and_asked_about_stays_held(tmp_path):
    path = make_entry(tmp_path)
    mark_in_use(path)
    mark_in_use(path)
    assert is_in_use(path)
    with exclusive_use(path) as is_ours:
        assert not is_ours
    release_all()
    with exclusive_use(path) as is_ours:
        assert is_ours
        assert is_in_use(path)


def test_a_mark_that_was_removed_meanwhile_binds_nobody(tmp_path):
    path = make_entry(tmp_path)
    mark_in_use(path)
    release_all()
    path.with_name("abc.used").unlink()
    mark_in_use(path)
    assert is_in_use(path)


def test_a_cache_that_may_only_be_read_is_used_without_a_mark(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(30, "Read-only file system")

    path = make_entry(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    mark_in_use(path)
    monkeypatch.undo()
    assert not is_in_use(path)


def test_other_trouble_with_a_mark_is_not_hidden(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="No space left"):
        mark_in_use(tmp_path / "base" / "abc")


def test_conditions_are_all_asked(tmp_path):
    old, new = make_entry(tmp_path, name="old", days=40), make_entry(tmp_path, name="new", days=2)
    make_entry(tmp_path, kind="fetched", name="models/hub", days=40)
    entries = list_entries(tmp_path, {old: {"study"}})

    def names(**conditions):
        return sorted(entry.path.name for entry in choose_entries(entries, **conditions))

    assert names(older_than=30) == ["old"]  # what was fetched goes only by name
    assert names(unused=True) == ["new"]
    assert names(unused=True, older_than=30) == []
    assert names(kinds=["fetched"]) == ["hub"]
    assert names(kinds=["tokenised"]) == ["new", "old"]
    assert new.is_dir()
    with pytest.raises(XlingValueError, match="got no condition"):
        choose_entries(entries)


def test_what_a_dead_process_left_is_listed_and_goes_after_a_day(tmp_path):
    fresh, stale = (tmp_path / "base" / f"{TEMPORARY_PREFIX}{name}" for name in ("fresh", "stale"))
    for path in (fresh, stale):
        path.mkdir(parents=True)
    os.utime(stale, (0, 0))
    entries = list_entries(tmp_path)
    assert [entry.kind for entry in entries] == ["incomplete", "incomplete"]
    assert [entry.path for entry in choose_entries(entries, kinds=["incomplete"])] == [stale]


def test_a_damaged_entry_is_listed_as_such(tmp_path):
    (make_entry(tmp_path) / "facts.json").write_text("{")
    assert list_entries(tmp_path)[0].about == "damaged"


def test_every_entry_of_a_run_is_known_to_be_its(make_config, tmp_path):
    cache = tmp_path / "cache"
    train(make_config(f"cache_dir={cache}", "trainer.max_epochs=1"))
    users = find_users(tmp_path / "test", cache)
    entries = list_entries(cache, users)
    assert {entry.kind for entry in entries} == {"tokenised", "base"}
    assert all(entry.studies == ("test",) for entry in entries)
    assert all(entry.is_in_use for entry in entries)  # this process ran it
    assert "tiny_bert, mean, de en sw" in [entry.about for entry in entries]
    assert sum(entry.about.startswith("probe.") for entry in entries) == 3
    (tmp_path / "test" / "en" / "none" / "seed_42" / "data.json").unlink()
    assert find_users(tmp_path / "test", cache) == {}


def test_what_was_pruned_is_made_again(make_config, tmp_path):
    cache = tmp_path / "cache"
    first = train(make_config(f"cache_dir={cache}", "trainer.max_epochs=1"))
    release_all()
    for entry in list_entries(cache):
        assert remove_entry(entry)
    assert list_entries(cache) == []
    again = train(make_config(f"cache_dir={cache}", "trainer.max_epochs=1", "study=again"))
    assert (first.path / "impact.parquet").stat().st_size > 0
    assert (again.path / "manifest.json").is_file()


def test_the_command_lists_first_and_removes_when_told(tmp_path, capsys):
    path = make_entry(tmp_path, days=40)
    where = ["--cache-dir", str(tmp_path)]
    assert main(["size", *where]) == 0
    assert "train.en, 7 examples" in capsys.readouterr().out
    assert main(["prune", *where, "--older-than", "30"]) == 0
    assert "would free 0.0 MB; nothing was removed: add --yes" in capsys.readouterr().out
    assert path.is_dir()
    assert main(["prune", *where, "--older-than", "30", "--yes"]) == 0
    assert "freed" in capsys.readouterr().out
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "got no condition"),
        (["prune", "--unused"], "--unused asks for studies"),
        (["size", "--runs", "nowhere"], "expected a folder of runs at nowhere"),
    ],
)
def test_bad_arguments_end_with_a_sentence(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--cache-dir", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_a_cache_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="expected a cache folder"):
        list_entries(tmp_path / "nowhere")


@pytest.mark.parametrize("command", [["size"], ["prune", "--older-than", "1"]])
def test_a_machine_without_a_cache_is_no_error(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "none"))
    assert main(command) == 0
    assert "none: nothing yet; the first run makes it" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert main([*command, "--cache-dir", str(tmp_path / "mistyped")]) == 1
    assert "expected a cache folder at" in capsys.readouterr().err
