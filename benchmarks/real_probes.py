"""Computes each measure on the real XNLI with premises paired anew, so that the truth is 0 (docs/similarity.md has the values).

    python benchmarks/real_probes.py --xnli FOLDER           # a few minutes on one core

Base representations of e5_small, masked mean, 450 dev rows (150 premises of three), before any training.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.material import as_a_run, classifier_of, data_of, encoder_of
from benchmarks.probe_pass import validate
from xling.callbacks import ImpactMonitor
from xling.probing.base_store import BaseStore
from xling.probing.representations import Representations
from xling.similarity import MEASURES, chance_levels

LAYERS = (1, 4, 8, 12)
CKAS = ("cka_grouped", "cka_debiased", "cka_biased")


def base_rows(xnli: Path, cache_dir: Path, languages: list[str], n: int) -> dict[str, Representations]:
    """Read the representations before training of `n` probe examples per language, with the ids of their premises."""
    data = data_of(xnli, cache_dir, 30, n)
    data.probes = {language: data.probes[language] for language in languages}
    with tempfile.TemporaryDirectory() as folder:
        store = BaseStore(Path(folder), data.probe_fingerprints)
        validate(as_a_run(classifier_of(encoder_of("e5_small", cache_dir))), data, [ImpactMonitor(base=store)])
        return {language: store.load(language, torch.device("cpu")) for language in languages}


def levels(rows: Representations, layer: int, names: list[str], draws: int) -> dict[str, tuple[float, float]]:
    """Compute mean and standard deviation over several pairings of one layer against itself."""
    x, measures = list(rows.layers.values())[layer], [MEASURES[name] for name in names]
    found = [chance_levels(measures, x, x.clone(), rows.group_ids, seed=seed) for seed in range(draws)]
    values = {name: torch.stack([draw[name].value.squeeze() for draw in found]) for name in names}
    return {name: (float(value.mean()), float(value.std())) for name, value in values.items()}


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xnli", type=Path, required=True, help="folder with dev.LANGUAGE.tsv and so on")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "xling")
    parser.add_argument("--languages", nargs="+", default=["en", "sw", "th"])
    parser.add_argument("--rows", type=int, default=450)
    parser.add_argument("--draws", type=int, default=8)
    args = parser.parse_args()
    rows = base_rows(args.xnli, args.cache, args.languages, args.rows)
    others = [name for name in MEASURES if name not in CKAS]
    for names, draws in ((list(CKAS), args.draws), (others, 1)):
        print(f"\n| language | layer | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
        for language in args.languages:
            for layer in LAYERS:
                found = levels(rows[language], layer, names, draws)
                cells = [f"{mean:.3f}" + (f" ({sd:.3f})" if draws > 1 else "") for mean, sd in found.values()]
                print(f"| {language} | {layer} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
