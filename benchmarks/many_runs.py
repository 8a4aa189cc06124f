"""Measures what hundreds of runs cost to read, list and analyse: CPU seconds and peak memory, each in a process of its own.

``python -m benchmarks.many_runs STUDY --code BEFORE --code .`` measures checkouts side by side; STUDY is what
``benchmarks.made_up_study`` wrote.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "load_study": "import sys, xling; xling.load_study(sys.argv[1])",
    "xling-status": "import sys; from xling.commands.status import main; main([sys.argv[1]])",
    "xling-cache size --runs": (
        "import sys; from xling.commands.cache import main; main(['size', '--cache-dir', sys.argv[2], '--runs', sys.argv[1]])"
    ),
    "xling-analyze": (
        "import sys; folder, cache, out = sys.argv[1:4]; sys.argv[1:] = ['runs=' + folder, 'output_dir=' + out, *sys.argv[4:]]\n"
        "from xling.commands.start import analyze; analyze()"
    ),
}


def measure(code: str, checkout: Path, arguments: list[str]) -> tuple[float, float]:
    """Measure CPU seconds (user and system) and peak memory (MB) of a Python, with its children, that runs `code` of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log, cwd="/")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{checkout} failed at {arguments}: {log.read()[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--code", type=Path, action="append", help="a checkout; may be repeated")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--analyze", nargs="*", default=[], help="further settings of xling-analyze")
    options = parser.parse_args()
    print("| what | checkout | CPU, s | peak memory, MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            for checkout in options.code or [Path()]:
                out = str(Path(scratch) / f"out_{checkout.resolve().name}")
                more = options.analyze if name == "xling-analyze" else []
                seconds, megabytes = measure(
                    COMMANDS[name], checkout, [str(options.study.resolve()), scratch, out, *more]
                )
                print(f"| {name} | {checkout} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
