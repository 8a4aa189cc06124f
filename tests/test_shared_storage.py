"""Files that people and processes share: written by one at a time, readable under the umask, with or without locks."""

import errno
import fcntl
import logging
import multiprocessing
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from xling.commands.cache import main as cache
from xling.commands.status import main as status
from xling.commands.train import train
from xling.errors import UnreachableError, XlingValueError
from xling.machine.passwords import refuse_passwords
from xling.machine.plain_text import one_line, printable, without_formulas
from xling.models.encoders import load_encoder
from xling.models.spec import EncoderSpec
from xling.models.tiny import tiny_config
from xling.runs.folder_names import check_folder_name
from xling.runs.planned_runs import RunKey, record_plan, study_folder
from xling.runs.state import is_locked, read_failure, write_failure
from xling.storage import locks
from xling.storage.atomic import atomic_path, write_json, write_text
from xling.storage.cache_marks import exclusive_use, is_in_use, mark_in_use
from xling.storage.fetched import read_record, record_files
from xling.storage.locks import hold_lock, is_held, waiting_lock
from xling.storage.swapping import swapped_in, unique_folders


def is_page(path: Path) -> bool:
    return path.suffix == ".html" or path.parts[0] == "tables"


def make(folder: Path, *names: str, content: str = "") -> None:
    with swapped_in(folder, is_page, "report.html") as scratch:
        for name in names:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_text(content)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_what_is_written_takes_the_place_of_what_was_there_and_of_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path, "report.html", "tables/a.csv", "tables/b.csv")
    make(tmp_path, "report.html", "tables/c.csv", content="new")
    assert files(tmp_path) == {"notes.txt", "report.html", "tables/c.csv"}


def test_an_error_leaves_what_was_there(tmp_path):
    make(tmp_path, "report.html", "tables/a.csv", content="old")
    with pytest.raises(ZeroDivisionError), swapped_in(tmp_path, is_page, "report.html") as scratch:
        (scratch / "report.html").write_text("new")
        raise ZeroDivisionError
    assert files(tmp_path) == {"report.html", "tables/a.csv"}
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize("n_moves", [0, 1, 2])
def test_a_kill_while_swapping_never_leaves_files_of_two(tmp_path, monkeypatch, n_moves):
    make(tmp_path, "report.html", "tables/a.csv", "tables/b.csv", content="old")
    replace, moved = os.replace, []

    def replace_some(*paths):
        if len(moved) == n_moves:
            raise KeyboardInterrupt
        moved.append(paths)
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_some)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, "report.html", "tables/a.csv", "tables/b.csv", content="new")
    assert {(tmp_path / name).read_text() for name in files(tmp_path)} <= {"new"}
    assert not (tmp_path / "report.html").exists()


def test_a_second_process_is_told_to_wait(tmp_path):
    with (
        swapped_in(tmp_path, is_page, "report.html"),
        pytest.raises(UnreachableError, match="is being written by another process; wait for it"),
    ):
        make(tmp_path, "report.html")


def test_studies_whose_names_look_alike_have_folders_of_their_own():
    names = ["a b", "a_b", "A_B", "..", ".", "", "tables", "mine", "日本"]
    folders = unique_folders(names, reserved=("tables", "figures"))
    assert len({folder.lower() for folder in folders.values()}) == len(names)
    assert folders["mine"] == "mine"
    assert not {"", ".", "..", "tables"} & set(folders.values())
    assert unique_folders(["a b"]) == {"a b": "a_b"}


@pytest.mark.parametrize(
    "name", ["../../x", "/abs", "..", ".", "", "a/b", "a\\b", "~root", "a\x1b[2J", "a\u202eb", "x" * 300]
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(XlingValueError, match="expected study to be a name that can be a folder"):
        check_folder_name(name, "study")


@pytest.mark.parametrize("setting", ["study", "source_language"])
def test_a_run_is_written_below_output_dir_or_not_at_all(make_config, tmp_path, setting):
    settings = make_config().changed(**{setting: "../../elsewhere"}, output_dir=tmp_path / "deep" / "runs")
    with pytest.raises(XlingValueError, match=f"expected {setting} to be a name"):
        train(settings)
    with pytest.raises(XlingValueError, match="which has a separator"):
        study_folder(settings)
    assert list(tmp_path.iterdir()) == []


def test_escape_sequences_and_line_feeds_are_made_visible():
    assert printable("a\x1b[31mb\x07") == "a\\x1b[31mb\\x07"
    assert one_line("a\nb\r\n\x9bc") == "a b \\x9bc"
    assert printable("français 日本 हिन्दी") == "français 日本 हिन्दी"


def test_a_failure_from_elsewhere_cannot_write_on_a_terminal(tmp_path):
    write_failure(tmp_path, "bad \x1b[2J\nsecond")
    assert read_failure(tmp_path).reason == "bad \\x1b[2J"
    write_json(tmp_path / "failed.json", {"reason": "x\x1b]0;title\x07\ny", "failed_at": "now"})
    assert read_failure(tmp_path).reason == "x\\x1b]0;title\\x07 y"


def test_status_shows_markup_and_escapes_as_text(tmp_path, capsys):
    run = tmp_path / "study" / "[bold red]en[/bold red]" / "a\x1b[2Jb" / "seed_1"
    write_json(run / "failed.json", {"reason": "[link=file:///x]click[/link]\x1b[2J", "failed_at": "now"})
    assert status([str(tmp_path / "study")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert "[link=file:///x]click[/link]" in shown


def test_cells_that_a_spreadsheet_would_compute_become_text():
    table = pd.DataFrame({"language": ["=HYPERLINK(1)", "-1+2", "@x", "de"], "r": [-0.5, 1.0, None, 0.0]})
    written = without_formulas(table).to_csv(index=False)
    assert "'=HYPERLINK(1),-0.5" in written
    assert "'-1+2,1.0" in written
    assert "\nde,0.0" in written


@pytest.mark.parametrize(
    "loggers",
    [
        {"mlflow": {"tracking_uri": "https://me:secret@host/x"}},
        {"mlflow": {"tracking_uri": "postgresql://me:secret@host:5432/db"}},
        {"mlflow": {"tracking_uri": "https://host/x?access_token=secret"}},
        {"wandb": {"deep": [{"api_key": "secret"}]}},
    ],
)
def test_passwords_of_tracking_servers_are_refused_and_not_repeated(loggers, make_config, tmp_path):
    with pytest.raises(XlingValueError, match="without a password, since every run records its settings") as caught:
        refuse_passwords(loggers)
    assert "secret" not in str(caught.value)
    with pytest.raises(XlingValueError, match="without a password"):
        train(make_config().changed(logger=loggers))
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_addresses_without_a_password_pass():
    refuse_passwords(
        {"mlflow": {"tracking_uri": "https://host:5000/x?experiment=1"}, "wandb": {"project": "token-study"}}
    )


@pytest.mark.parametrize(
    "config",
    [
        {"_attn_implementation": "kernels-community/flash-attn"},
        {"attn_implementation": "evil/kernel:attn"},
        {"text_config": {"attn_implementation": "evil/kernel"}},
        {"attn_implementation": {"text": "evil/kernel"}},
    ],
)
def test_kernels_of_a_hub_are_refused_as_remote_code_is(tmp_path, config):
    write_json(tmp_path / "config.json", tiny_config("bert").to_dict() | config)
    spec = EncoderSpec("local", str(tmp_path), weights="random")
    with pytest.raises(XlingValueError, match="which is code of a hub that would be executed"):
        load_encoder(spec, tmp_path / "cache")


@pytest.mark.parametrize(
    ("mask", "file", "folder"), [(0o002, 0o664, 0o775), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_what_is_written_follows_the_umask(tmp_path, mask, file, folder):
    before = os.umask(mask)
    try:
        with atomic_path(tmp_path / "entry") as temporary:
            temporary.mkdir()
            (temporary / "weights").touch(mode=0o600)  # as safetensors and datasets write
        write_text(tmp_path / "text", "x")
        with waiting_lock(tmp_path / "lock"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "entry").stat().st_mode) == folder
    for path in (tmp_path / "entry" / "weights", tmp_path / "text", tmp_path / "lock"):
        assert stat.S_IMODE(path.stat().st_mode) == file


def test_a_rename_is_flushed_with_its_folder(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (flushed.append(os.fstat(descriptor).st_ino), fsync(descriptor))
    )
    write_text(tmp_path / "a" / "text", "x")
    assert (tmp_path / "a").stat().st_ino in flushed
    assert (tmp_path / "a" / "text").stat().st_ino in flushed


@pytest.fixture(params=["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def no_flock(monkeypatch, request):
    """A file system without locks."""

    def fail(*_):
        raise OSError(getattr(errno, request.param), "no locks here")

    locks.say_unprotected.cache_clear()
    monkeypatch.setattr(fcntl, "flock", fail)


def test_without_locks_work_goes_on_and_says_which_option_is_missing(no_flock, tmp_path, caplog, capsys):
    caplog.set_level(logging.WARNING)
    with hold_lock(tmp_path / "lock", "in use"), waiting_lock(tmp_path / "other"):
        pass
    assert caplog.text.count("on Lustre: mount it with -o flock") == 1
    assert not is_held(tmp_path / "lock")
    record_plan(tmp_path / "study", [RunKey("en", "none", 1)])
    (tmp_path / "study/en/none/seed_1").mkdir(parents=True)
    (tmp_path / "study/en/none/seed_1/.lock").touch()
    assert not is_locked(tmp_path / "study/en/none/seed_1")
    assert status([str(tmp_path / "study")]) == 0
    (tmp_path / "cache/tokenised/x").mkdir(parents=True)
    mark_in_use(tmp_path / "cache/tokenised/x")
    assert not is_in_use(tmp_path / "cache/tokenised/x")
    assert cache(["size", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert cache(["prune", "--cache-dir", str(tmp_path / "cache"), "--kind", "tokenised", "--yes"]) == 0
    assert not (tmp_path / "cache/tokenised/x").exists()


def test_a_run_trains_without_locks(no_flock, make_config, tmp_path):
    settings = make_config("trainer.max_epochs=1").changed(cache_dir=tmp_path / "cache")
    assert train(settings).is_complete


def test_a_lock_that_is_held_refuses(tmp_path):
    with (
        hold_lock(tmp_path / "lock", "first"),
        pytest.raises(UnreachableError, match="somebody is here"),
        hold_lock(tmp_path / "lock", "somebody is here", timeout=0),
    ):
        pass


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path):
    with hold_lock(tmp_path / "lock", "in use"):
        (tmp_path / "lock").unlink()
        with hold_lock(tmp_path / "lock", "in use", timeout=0):
            assert is_held(tmp_path / "lock")


def test_an_entry_that_may_not_be_claimed_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("xling.storage.cache_marks.open_shared", refuse)
    with (
        pytest.raises(UnreachableError, match="cannot write .*entry: Permission denied"),
        exclusive_use(tmp_path / "entry"),
    ):
        pass


def _record(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).write_text(name)
        record_files(folder, [name], {"revision": "1"})


def test_two_processes_that_record_files_at_once_lose_none(tmp_path):
    (tmp_path / "data").mkdir()
    names = [f"{number}.parquet" for number in range(40)]
    context = multiprocessing.get_context("fork")
    halves = [context.Process(target=_record, args=(tmp_path / "data", part)) for part in (names[:25], names[15:])]
    for process in halves:
        process.start()
    for process in halves:
        process.join()
    assert set(read_record(tmp_path / "data")["files"]) == set(names)
