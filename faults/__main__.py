"""``python -m faults [--kills 50] [--only NAME ...]``: inject every fault, print the table, exit 1 if anything differs.

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

from faults import damage, kills, machine
from faults.outcomes import read_outcome
from faults.report import Fault, format_table
from faults.sweeps import Study

NAMES = ("kill", "sigterm", "twice", "damage", "full", "readonly", "nan", "memory", "clock")


def run(root: Path, names: tuple[str, ...] = NAMES, n_kills: int = 50, n_signals: int = 8) -> list[Fault]:
    """Inject the named faults below the folder `root`."""
    import xling.commands.train  # noqa: F401  (once: the forked sweeps have it)

    study = Study(root / "undisturbed")
    started = time.monotonic()
    if study.start().wait():
        raise RuntimeError(f"the undisturbed sweep failed: {(study.root / 'messages.txt').read_text()[-500:]}")
    seconds, expected = time.monotonic() - started, read_outcome(study.folder)
    print(f"undisturbed: {seconds:.0f} s, {len(expected)} results", flush=True)
    actions = {
        "kill": lambda: [kills.kill_at_random(root, expected, seconds, n_kills)],
        "sigterm": lambda: [kills.terminate(root, expected, seconds, n_signals)],
        "twice": lambda: [kills.two_at_once(root, expected)],
        "damage": lambda: damage.damage_all(root),
        "full": lambda: [machine.full_disk(root, expected)],
        "readonly": lambda: [machine.read_only(root, expected)],
        "nan": lambda: [machine.diverge(root)],
        "memory": lambda: [machine.out_of_memory(root)],
        "clock": lambda: [machine.jumping_clock(root, expected)],
    }
    faults = []
    for name in names:
        faults += actions[name]()
        print(format_table(faults[-1:] if name != "damage" else faults), flush=True)
    return faults


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="xling-faults-"))
    root.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    faults = run(root, tuple(arguments.only), arguments.kills)
    print(f"\n{format_table(faults)}\n\n{time.monotonic() - started:.0f} s")
    if arguments.keep is None:
        shutil.rmtree(root)
    raise SystemExit(any(fault.differences for fault in faults))


if __name__ == "__main__":
    main()
