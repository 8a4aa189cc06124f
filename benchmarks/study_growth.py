"""Measures how reading a study grows with its runs, target languages, layers and validations: a table, a figure, fitted exponents.

``python -m benchmarks.study_growth docs/study_growth.png`` writes made-up studies, loads each, and prints Markdown.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks import made_up_study
from benchmarks.made_up_study import MORE_LANGUAGES, write_study
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.runs.study import load_study

LANGUAGES = (*XNLI_LANGUAGES, *MORE_LANGUAGES)
START = {"runs": 8, "targets": 8, "layers": 6, "validations": 2}
FACTORS = (1, 2, 4, 8)


def seconds_to_load(runs: int, targets: int, layers: int, validations: int, rounds: int) -> float:
    """Measure the CPU seconds of ``load_study``, the fastest of some rounds."""
    made_up_study.N_LAYERS = layers
    with tempfile.TemporaryDirectory() as folder:
        sources, chosen, seeds = LANGUAGES[:8], LANGUAGES[:targets], range(runs // 8)
        study = write_study(Path(folder), sources, chosen, ("none",), list(seeds), validations)
        found = []
        for _ in range(rounds):
            start = time.process_time()
            load_study(study)
            found.append(time.process_time() - start)
    return min(found)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Fit the slope on two logarithmic axes: 1 where twice the size takes twice the time."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def draw(seconds: dict[str, list[float]], file: Path) -> None:
    """Draw a curve for what was grown, by how many times."""
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for name, found in seconds.items():
        axes.loglog(FACTORS, found, marker="o", label=f"{name}, exponent {exponent(list(FACTORS), found):.2f}")
    axes.set_xlabel("times as many as at the start")
    axes.set_ylabel("CPU seconds of load_study")
    axes.minorticks_off()
    axes.set_xticks(FACTORS, [str(factor) for factor in FACTORS])
    axes.set_ylim(0.02)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150, metadata={"Software": None})


def bench(figure_file: Path, rounds: int) -> str:
    """Measure and draw; the table with the figure below it, as Markdown."""
    start = ", ".join(f"{value} {name}" for name, value in START.items())
    rows = [f"| grown | {' | '.join(f'x {f}: CPU, ms' for f in FACTORS)} | exponent |\n|{'---|' * 6}"]
    found = {}
    for name, value in START.items():
        found[name] = [seconds_to_load(**START | {name: value * factor}, rounds=rounds) for factor in FACTORS]
        milliseconds = " | ".join(f"{1000 * seconds:.0f}" for seconds in found[name])
        rows.append(f"| {name} | {milliseconds} | {exponent(list(FACTORS), found[name]):.2f} |")
    draw(found, figure_file)
    table = "\n".join(rows)
    return f"`load_study`, from {start} on (made up, fastest of {rounds}):\n\n{table}\n\n![growth]({figure_file.name})"


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(bench(options.figure, options.rounds))


if __name__ == "__main__":
    main()
