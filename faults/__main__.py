"""Injects every fault, prints the table, and exits with 1 if anything differs: ``python -m faults [--kills 50] [--only NAME ...]``.

A sweep of tiny_bert (4 sources x 2 strategies x 2 seeds on mini_nli) is run undisturbed; then it is disturbed, started again,
and compared byte for byte: tables, logged metrics, final weights, manifests but for times. Takes about 12 minutes.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: forked processes share its threads' state

from faults import analyses, damage, hostile, kills, machine, mixes, shared
from faults.outcomes import read_outcome
from faults.report import Fault, format_table
from faults.sweeps import Study

OF_TRAINING = ("kill", "sigterm", "twice", "damage", "full", "readonly", "nan", "memory", "clock", "exchange", "flock")
OF_STUDIES = ("mixed", "deleting", "analyses", "kill_analyze", "full_analyze", "hostile")
OF_CACHES = ("fetch", "prune", "decode", "guest")
NEED_SWEEP = {"kill", "sigterm", "twice", "full", "readonly", "clock", "flock", "deleting"}
"""Faults whose outcome is compared with that of an undisturbed sweep."""
NAMES = (*OF_TRAINING, *OF_STUDIES, *OF_CACHES)


def run(
    root: Path,
    names: tuple[str, ...] = NAMES,
    n_kills: int = 50,
    n_signals: int = 8,
    n_times: int = 20,
    n_loads: int = 40,
) -> list[Fault]:
    """Inject the named faults below the folder `root`."""
    import xling.commands.train  # noqa: F401  (once: the forked sweeps have it)

    study, expected, seconds = Study(root / "undisturbed"), {}, 0.0
    if set(names) & NEED_SWEEP:
        expected, seconds = _undisturbed(study)
    actions = {
        "kill": lambda: [kills.kill_at_random(root, expected, seconds, n_kills)],
        "sigterm": lambda: [kills.terminate(root, expected, seconds, n_signals)],
        "twice": lambda: [kills.two_at_once(root, expected)],
        "damage": lambda: damage.damage_all(root),
        "full": lambda: [machine.full_disk(root, expected)],
        "readonly": lambda: [machine.read_only(root, expected)],
        "nan": lambda: [machine.diverge(root)],
        "memory": lambda: [machine.out_of_memory(root)],
        "exchange": lambda: [mixes.exchange_all(_folder(root, "exchange"))],
        "mixed": lambda: [mixes.mix_all(_folder(root, "mixed"))],
        "deleting": lambda: [analyses.load_while_deleting(root, study.folder, n_loads)],
        "analyses": lambda: [analyses.two_at_once(root / "analyses", n_times)],
        "kill_analyze": lambda: [analyses.kill_analyses(root / "kill_analyze", n_times)],
        "fetch": lambda: analyses.fetch_disturbed(root / "fetch", n_times),
        "prune": lambda: [analyses.kill_prune(root / "prune", n_times)],
        "full_analyze": lambda: [analyses.full_disk(root / "full_analyze")],
        "decode": lambda: [shared.decode_twice(root / "decode")],
        "guest": lambda: [shared.cache_of_another_user(_folder(root, "guest"))],
        "flock": lambda: [shared.without_flock(_folder(root, "flock"), expected)],
        "hostile": lambda: [hostile.try_all(_folder(root, "hostile"))],
        "clock": lambda: [machine.jumping_clock(root, expected)],
    }
    faults = []
    for name in names:
        faults += actions[name]()
        print(format_table(faults[-1:] if name != "damage" else faults), flush=True)
    return faults


def _undisturbed(study: Study) -> tuple[dict[str, str], float]:
    """Run the sweep undisturbed; returns its outcome and the seconds that it took."""
    started = time.monotonic()
    if study.start().wait():
        raise RuntimeError(f"the undisturbed sweep failed: {(study.root / 'messages.txt').read_text()[-500:]}")
    seconds, expected = time.monotonic() - started, read_outcome(study.folder)
    print(f"undisturbed: {seconds:.0f} s, {len(expected)} results", flush=True)
    return expected, seconds


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    return folder


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments")
    parser.add_argument("--times", type=int, default=20, help="analyses at once, and kills of analyze, fetch and prune")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="xling-faults-"))
    root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    faults = run(root, tuple(arguments.only), arguments.kills, n_times=arguments.times)
    print(f"\n{format_table(faults)}\n\n{time.monotonic() - started:.0f} s")
    if arguments.keep is None:
        shutil.rmtree(root)
    raise SystemExit(any(fault.differences for fault in faults))


if __name__ == "__main__":
    main()
