"""Where a sweep stands: which run of how many, and the time left for all of them."""

import io
import logging
import sys

import pytest
from rich.console import Console

from xling.commands.status import main
from xling.commands.train import train
from xling.machine.logs import configure_logging
from xling.runs.directory import LOG_FILE, MANIFEST_FILE, RunDirectory
from xling.runs.outlook import Outlook, planned_outlook, study_outlook
from xling.runs.planned_runs import RunKey, record_plan
from xling.runs.state import write_failure, write_progress
from xling.runs.status import RunStatus, study_status
from xling.storage.atomic import write_json
from xling.sweeps.headline import phrase_languages, phrase_place, phrase_rest, phrase_sizes
from xling.sweeps.status_table import phrase_total, run_table

KEYS = [RunKey(source, "none", seed) for source in ("de", "en") for seed in (1, 2, 3)]


def finish(folder, key, seconds):
    (folder / key.folder).mkdir(parents=True)
    write_json(folder / key.folder / MANIFEST_FILE, {"seconds": seconds, "train_seconds": 10.0})


def test_the_rest_takes_the_median_of_the_finished_runs_each(tmp_path):
    record_plan(tmp_path, KEYS)
    assert planned_outlook(tmp_path) == Outlook(6, 0, 0, None)
    for key, seconds in zip(KEYS, (900.0, 100.0, 120.0), strict=False):  # the first one also made the base
        finish(tmp_path, key, seconds)
    assert planned_outlook(tmp_path) == Outlook(6, 3, 0, 3 * 120.0)


def test_a_running_run_has_less_before_it_and_several_share_the_rest(tmp_path):
    record_plan(tmp_path, KEYS)
    finish(tmp_path, KEYS[0], 100.0)
    (tmp_path / KEYS[1].folder).mkdir(parents=True)
    write_progress(tmp_path / KEYS[1].folder, epoch=0.5, step=30, total_steps=40, elapsed_s=60.0)
    with RunDirectory(tmp_path / KEYS[1].folder).lock():
        assert planned_outlook(tmp_path) == Outlook(6, 1, 1, 20.0 + 4 * 100.0)
        with RunDirectory(tmp_path / KEYS[2].folder).lock():
            assert planned_outlook(tmp_path) == Outlook(6, 1, 2, (20.0 + 100.0 + 3 * 100.0) / 2)


def test_nothing_is_left_of_a_finished_study_and_damage_is_no_measurement(tmp_path):
    finish(tmp_path, KEYS[0], 100.0)
    assert study_outlook(tmp_path, study_status(tmp_path)).seconds_left == 0.0
    write_json(tmp_path / KEYS[0].folder / MANIFEST_FILE, {"seconds": "soon"})
    record_plan(tmp_path, KEYS)
    assert planned_outlook(tmp_path) == Outlook(6, 1, 0, None)


def test_without_a_sweep_there_is_no_outlook(tmp_path):
    finish(tmp_path, KEYS[0], 100.0)
    assert planned_outlook(tmp_path) is None


def test_a_damaged_plan_stops_no_run(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    assert planned_outlook(tmp_path) is None


def test_a_run_of_a_sweep_says_which_it_is_and_what_is_left(make_config, tmp_path, caplog):
    settings = make_config("source_language=de", "seed=2", "trainer.max_epochs=1")
    keys = [RunKey(source, "none", seed) for source in ("de", "en", "sw") for seed in (1, 2)]
    record_plan(tmp_path / "test", keys)
    finish(tmp_path / "test", keys[0], 600.0)
    with caplog.at_level(logging.INFO, logger="xling"):
        train(settings)
    log = caplog.text
    first = next(line for line in log.splitlines() if "xling.train" in line or "commands.train" in line)
    assert (
        "mini_nli, an embedded toy data set, sentence classification, tiny_bert: de -> en, de, sw (3 targets)" in first
    )
    assert "run 2 of 6 of the study test, about 50 min left for all of it" in log
    assert "90 training examples; probe: 36 examples in each of 3 languages; encoder: " in log
    assert "2 of 6 runs of the study test are done, about " in log


def test_a_run_by_itself_says_nothing_of_a_sweep(make_config, tmp_path):
    settings = make_config()
    assert phrase_place(tmp_path / "test", settings) == phrase_rest(tmp_path / "test", settings) == ""
    record_plan(tmp_path / "test", [RunKey("en", "none", 42)])
    assert phrase_place(tmp_path / "test", settings) == ""


def test_sizes_and_languages_are_put_into_words():
    data = {"train": {"n_examples": 5010}, "probe.de": {"n_examples": 450}, "probe.hi": {"n_examples": 1500}}
    assert phrase_sizes(data, {"n_parameters": 117_505_920}) == (
        "5,010 training examples; probe: 450 to 1,500 examples in each of 2 languages; encoder: 117.5 million parameters"
    )
    assert phrase_languages(["de"]) == "de (1 target)"


class Terminal:
    """Stands for a stderr that somebody watches."""

    def __init__(self, stream):
        self.stream, self.text = stream, ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.mark.parametrize("watched", [True, False])
def test_the_runs_log_has_progress_with_and_without_a_bar(watched, make_config, monkeypatch, capsys):
    monkeypatch.setattr("xling.callbacks.progress_log.ProgressLog._is_due", lambda self, trainer: True)
    terminal = Terminal(sys.stderr)
    monkeypatch.setattr(terminal, "isatty", lambda: watched)
    monkeypatch.setattr(sys, "stderr", terminal)
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    try:
        configure_logging()
        run = train(make_config("trainer.max_epochs=1"))
    finally:
        root.handlers[:] = handlers
    log = (run.path / LOG_FILE).read_text()
    assert "of training left" in log
    assert "validation: sw (3 of 3)" in log
    assert ("of training left" in terminal.text) == (not watched)
    assert ("Epoch 0" in capsys.readouterr().out) == watched


def many_runs(n_seeds, n_sources):
    return [
        RunStatus(f"l{source}", f"strategy_with_a_long_name_{strategy}", seed, "done" if seed % 2 else "missing")
        for source in range(n_sources)
        for strategy in range(2)
        for seed in range(n_seeds)
    ]


def printed(runs, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(run_table("study", runs, width))
    return console.export_text()


@pytest.mark.parametrize("n_seeds", [1, 3, 5, 12, 100])
def test_the_table_fits_80_columns_at_any_number_of_seeds_and_languages(n_seeds):
    text = printed(many_runs(n_seeds, 40))
    assert max(map(len, text.splitlines())) <= 80
    assert ("seed 1" in text) == (n_seeds in (3,))
    assert "l39" in text


def test_a_narrow_table_counts_states_and_names_what_is_running():
    runs = [RunStatus("en", "none", seed, "done") for seed in range(20)]
    runs += [RunStatus("en", "none", 20, "running", 0.5, 600.0), RunStatus("en", "none", 21, "failed")]
    text = printed(runs)
    assert "20 done, 1 running, 1 failed" in text
    assert "seed 20: running epoch 0.5, 10 min left" in text


def test_the_total_says_how_long_and_how_many_at_a_time():
    runs = [RunStatus("en", "none", 1, "done"), RunStatus("en", "none", 2, "missing")]
    assert phrase_total(runs, Outlook(2, 1, 0, 7200.0)) == "2 runs: 1 done, 1 missing; about 2.0 h left, one at a time"
    assert phrase_total(runs, Outlook(2, 1, 4, 7200.0)).endswith("about 2.0 h left, 4 at a time")
    assert phrase_total(runs, Outlook(2, 1, 0, None)) == "2 runs: 1 done, 1 missing"


def test_watching_ends_when_all_are_done_or_failed(tmp_path, capsys, monkeypatch):
    record_plan(tmp_path, KEYS[:2])
    finish(tmp_path, KEYS[0], 100.0)
    looks = []

    def later(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            (tmp_path / KEYS[1].folder).mkdir(parents=True)
            write_failure(tmp_path / KEYS[1].folder, "no space is left")
        assert len(looks) < 3

    monkeypatch.setattr("time.sleep", later)
    assert main([str(tmp_path), "--watch", "3"]) == 0
    assert looks == [3.0, 3.0]
    text = capsys.readouterr().out
    assert text.count("2 runs: 1 done, 1 missing; about 2 min left, one at a time") == 2
    assert text.count("2 runs: 1 done, 1 failed") == 1


def test_watching_ends_at_the_keyboard(tmp_path, monkeypatch):
    record_plan(tmp_path, KEYS)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    assert main([str(tmp_path), "--watch"]) == 0


@pytest.mark.parametrize("given", ["0", "never", "nan", "-1"])
def test_an_interval_that_is_none_is_refused(given, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), f"--watch={given}"])
    assert f"expected a number of seconds, 0.1 or more, got {given!r}" in capsys.readouterr().err


def test_several_studies_have_a_total(tmp_path, capsys):
    for name in ("a", "b"):
        record_plan(tmp_path / name, KEYS)
    assert main([str(tmp_path)]) == 0
    assert "all 2 studies: 12 runs: 12 missing" in capsys.readouterr().out
