"""Checks one CUDA GPU in at most eight minutes: ``make gpu-check``.

Tests on the GPU first, then figures, then as many runs of the re-test as time allows. Every part is a process of its own with a
time limit: one that fails, hangs or lacks a package is reported, and the others go on. Prints one table; writes one JSON.

    python -m benchmarks.gpu_check --xnli FOLDER --output gpu_check.json
    python -m benchmarks.gpu_check --device cpu      # small, to see that the script works
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
TAIL = 4_000


@dataclass(frozen=True)
class Part:
    """One step of the check.

    Attributes:
        name: name of the step in the table.
        command: arguments for this Python.
        limit_s: seconds after which the step is stopped.
        gpu_only: whether the step means nothing on a CPU.
    """

    name: str
    command: tuple[str, ...]
    limit_s: int
    gpu_only: bool = False


def parts(options: argparse.Namespace) -> list[Part]:
    """List the steps, in order of importance."""
    small = options.device == "cpu"
    where = ("--xnli", str(options.xnli), "--cache", str(options.cache), "--output", str(options.scratch / "bench.md"))
    few = ("--rounds", "1", "--train-pairs", "300" if small else "6400", "--steps", "2" if small else "30")
    few += ("--probe-pairs", "6", "--languages", "2") if small else ("--probe-pairs", "450")
    e5 = ("--encoders", "e5_small") if small else ()
    bench = ("-m", "benchmarks.speed", *where, *few, *e5)
    rates = ("--examples", "600", "--size", "512") if small else ()
    tiny = (
        "train.py",
        "model=tiny_bert",
        "trainer.max_epochs=1",
        f"output_dir={options.scratch}",
        f"cache_dir={options.cache}",
    )
    return [
        Part("tests on the GPU", ("-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py"), 150, gpu_only=True),
        Part("rates and CKA", ("-m", "benchmarks.gpu_rates", "--device", options.device, *rates), 60),
        Part("probe pass", (*bench, "--only", "probe"), 120),
        Part("training", (*bench, "--only", "training"), 240),
        Part("frozen steps", (*bench, "--only", "frozen"), 90),
        Part("FSDP, one process", (*tiny, "study=fsdp", "trainer=fsdp", "trainer.devices=1"), 60, gpu_only=True),
        *(_retest(source, seed, options) for seed in (1, 2, 3) for source in ("en", "ru", "sw")),
    ]


def _retest(source: str, seed: int, options: argparse.Namespace) -> Part:
    run = ("hydra.mode=RUN", f"source_language={source}", f"seed={seed}", "keep_checkpoint=false")
    if options.device == "cpu":
        run += ("data.train_limit=60", "data.probe_limit=6", "trainer.precision=auto")
    places = (f"data.root={options.xnli}", f"output_dir={options.scratch}", f"cache_dir={options.cache}")
    return Part(f"re-test, {source}, seed {seed}", ("train.py", "experiment=retest", *run, *places), 120)


def carry_out(part: Part, seconds: float, device: str) -> dict[str, Any]:
    """Do one part within `seconds`; never raises."""
    if part.gpu_only and device == "cpu":
        return {"status": "skipped: needs a GPU", "seconds": 0.0}
    if seconds < 10:
        return {"status": "skipped: no time left", "seconds": 0.0}
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})
    limit = part.limit_s * (1 if device == "cuda" else 4)
    start = time.monotonic()
    try:
        process = subprocess.run(
            [sys.executable, *part.command], cwd=ROOT, env=environment, timeout=min(seconds, limit),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        status, output = "done" if process.returncode == 0 else f"failed ({process.returncode})", process.stdout
    except subprocess.TimeoutExpired as stopped:
        status = f"stopped after {stopped.timeout:.0f} s"
        output = (
            stopped.stdout.decode(errors="replace") if isinstance(stopped.stdout, bytes) else str(stopped.stdout or "")
        )
    return {"status": status, "seconds": round(time.monotonic() - start, 1), "output": output[-TAIL:]} | _figures(
        output
    )


def _figures(output: str) -> dict[str, Any]:
    """Read the JSON of a step from the last line of its output; empty where that is none."""
    last = output.strip().splitlines()[-1:]
    try:
        return {"figures": json.loads(last[0])} if last and last[0].startswith("{") else {}
    except ValueError:
        return {}


def machine(device: str) -> dict[str, Any]:
    """Describe the machine."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "device": device,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return found


def main() -> int:
    """Run the command; the exit status is 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it")
    parser.add_argument("--xnli", type=Path, default=ROOT.parent / "shared" / "xnli", help="folder with XNLI")
    parser.add_argument(
        "--cache", type=Path, default=Path(os.environ.get("XLING_CACHE", "~/.cache/xling")).expanduser()
    )
    parser.add_argument(
        "--scratch", type=Path, default=ROOT / "runs" / "gpu_check", help="for runs and pages of the parts"
    )
    parser.add_argument("--output", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--only", nargs="*", help="beginnings of the names of parts")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    report: dict[str, Any] = {"machine": machine(options.device), "parts": {}}
    print(f"{json.dumps(report['machine'])}\n\n| part | status | seconds |\n|---|---|---|", flush=True)
    for part in parts(options):
        if options.only and not part.name.startswith(tuple(options.only)):
            continue
        found = carry_out(part, end - time.monotonic(), options.device)
        report["parts"][part.name] = found
        options.output.write_text(json.dumps(report, indent=2) + "\n")  # what is known so far survives the next part
        print(f"| {part.name} | {found['status']} | {found['seconds']} |", flush=True)
    failed = [name for name, found in report["parts"].items() if found["status"].startswith(("failed", "stopped"))]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
