"""Collects all speed figures side by side in one run: ``python -m benchmarks.speed`` writes docs/bench.md.

Ratios are taken round by round, so that a busy machine slows both sides.
"""

import argparse
import os
import platform
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import frozen_steps, growth, probe_pass, start_up, study_growth, training
from benchmarks.material import ENCODERS
from xling.machine.run_precision import resolve_precision


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--xnli", type=Path, default=Path("../shared/xnli"), help="folder with XNLI; absent: mini_nli")
    parser.add_argument(
        "--cache", type=Path, default=Path(os.environ.get("XLING_CACHE", "~/.cache/xling")).expanduser()
    )
    parser.add_argument("--rounds", type=int, default=3, help="of e5_small; mbert_shape gets one less, at least one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--precision", default=resolve_precision("auto"), help="of training and steps; the probe: float32"
    )
    parser.add_argument("--freeze", default="none", help="none, or word_embeddings")
    parser.add_argument("--train-pairs", type=int, default=6400, help="of English, that batches are made of")
    parser.add_argument("--steps", type=int, default=12, help="of training in a round")
    parser.add_argument("--probe-pairs", type=int, default=60, help="per language")
    parser.add_argument("--ways", nargs="*", default=[], help="of the probe's pass, by the beginnings of their names")
    parser.add_argument("--together", type=int, default=1, help="languages of the probe's pass between two ways")
    parser.add_argument("--languages", type=int, help="of the probe's pass; default: all")
    parser.add_argument("--cpu-seconds", action="store_true", help="of the probe's pass, for a busy machine; no memory")
    parser.add_argument("--encoders", nargs="*", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--only", nargs="*", default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("docs/bench.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = [f"# Speed, measured\n\n`make bench` writes this file.\n\n{machine(options)}"]
    for name in options.only:
        parts.append(PARTS[name](options))
        print(parts[-1], flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n\n".join(parts) + "\n")


def rounds(options: argparse.Namespace, name: str) -> int:
    """Choose how many rounds an encoder is measured in."""
    return options.rounds if name == "e5_small" else max(1, options.rounds - 1)


def machine(options: argparse.Namespace) -> str:
    """Describe the machine that the figures are from."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{options.threads} threads, no GPU"
    texts = "real XNLI" if options.xnli.is_dir() else "mini_nli"
    return (
        f"{platform.machine()}, {device}, torch {torch.__version__}, {options.precision}, {texts}, {options.rounds} rounds, "
        f"frozen: {options.freeze}."
    )


def bench_training(options: argparse.Namespace) -> str:
    """Time training beside transformers' Trainer, and give the section of the page as Markdown."""
    rows = [training.HEADER]
    for name in options.encoders:
        where = (name, options.xnli, options.cache, options.train_pairs, options.steps)
        settings = training.Settings(*where, options.precision, options.freeze, options.threads)
        rows.append(training.bench(settings, rounds(options, name)))
    table = "## Training\n\n" + "\n".join(rows)
    if not training.has_trainer():
        return f"{table}\n\ntransformers' Trainer was not measured: accelerate is not installed."
    alike = replace(settings, encoder="e5_small", precision="32-true")
    difference = training.in_a_process_of_its_own(training.largest_difference, alike)
    return (
        f"{table}\n\nGiven the same batches, without dropout, in float32, e5_small: the losses of transformers' Trainer and of "
        f"xling differ by at most {difference:.1g} in any of {training.WARM_UP + options.steps} steps."
    )


def bench_probe(options: argparse.Namespace) -> str:
    """Measure the pass at an epoch's end, and give the section of the page as Markdown."""
    rows = [probe_pass.HEADER]
    for name in options.encoders:
        where = (name, options.xnli, options.cache, options.probe_pairs, rounds(options, name))
        plan = probe_pass.Plan(tuple(options.ways), options.together, options.languages, options.cpu_seconds)
        rows.append(probe_pass.bench(*where, plan))
    return "## The pass at an epoch's end\n\n" + "\n".join(rows)


def bench_frozen(options: argparse.Namespace) -> str:
    """Measure steps with frozen layers, and give the section of the page as Markdown."""
    rows = [
        frozen_steps.HEADER,
        *(
            frozen_steps.bench(name, options.cache, 4 * rounds(options, name), options.precision)
            for name in options.encoders
        ),
    ]
    return "## Frozen layers\n\n" + "\n".join(rows)


def bench_start(options: argparse.Namespace) -> str:
    """Time from the command to the first step, and imports, and give the section of the page as Markdown."""
    root = options.xnli if options.xnli.is_dir() else None
    table = f"{start_up.HEADER}\n{start_up.bench(root, options.rounds)}"
    return f"## Until the first step\n\n{table}\n\n{start_up.bench_imports(options.rounds)}"


def bench_growth(options: argparse.Namespace) -> str:
    """Measure how time grows with examples, width and runs, and give the section of the page as Markdown."""
    root = options.xnli if options.xnli.is_dir() else None
    of_runs = growth.bench_runs(root, options.cache, options.precision, options.rounds)
    tables = f"{growth.HEADER}\n{growth.bench(options.rounds)}\n\n{growth.HEADER_OF_RUNS}\n{of_runs}"
    return f"## Growth\n\n{tables}"


def bench_studies(options: argparse.Namespace) -> str:
    """Measure how reading a study grows, and give the section of the page as Markdown; the figure lies beside the page."""
    return f"## Reading a study\n\n{study_growth.bench(options.output.parent / 'study_growth.png', options.rounds)}"


PARTS = {
    "training": bench_training,
    "probe": bench_probe,
    "frozen": bench_frozen,
    "start": bench_start,
    "growth": bench_growth,
    "studies": bench_studies,
}

if __name__ == "__main__":
    main()
