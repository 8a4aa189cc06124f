"""Writes docs/results.md with its figures from the packs in this folder: ``make results``, or ``--check``s the committed ones."""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import yaml

from xling.analysis.claims import LEVEL, judge_claims, read_claims
from xling.analysis.inference.demeaned import correlate_demeaned, variance_shares
from xling.analysis.inputs.gather import add_distances, gather_csv, gather_study
from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.inputs.measures import one_measure
from xling.analysis.inputs.pairs import LANGUAGE_PAIR, compute_pairs
from xling.analysis.questions.source_choice import compute_source_choice
from xling.analysis.schema import MEAN_LABEL, Analysis, distance_kinds
from xling.analysis.tables import infer_correlations
from xling.commands.analyze import analyze
from xling.distances import KINDS, compute_distances
from xling.report.words import numbers

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAGE, PICTURES = DOCS / "results.md", DOCS / "results"
FIGURES = (
    "impact_vs_distance_heatmap",
    "impact_per_layer",
    "transfer_matrix",
    "specifications_impact",
    "specifications_transfer",
)
STUDY, CONTROLS = (
    "retest",
    {"e5_small_random": "the same shape, random weights", "minilm_english": "an encoder of English alone"},
)
PLANNED = 45
CONTROL_SOURCES = ("en", "ru", "sw")
OTHER_DISTANCES = ("individual", "average", "knn", "paper")
"""Tables of distances in the specification curve, beside the repaired one of the plan."""
RESAMPLING = Resampling()
SUMMARIES = ("summary", "seeds_summary", "controls_summary", "matrices_summary")
"""Entries of results.yaml that are words around computed numbers."""


@dataclass(frozen=True)
class Variant:
    """One other way to analyse the same runs.

    Attributes:
        name: in words.
        measure: of impact.
        raw: the correlation over pairs as they are, in place of the one after source and target effects.
        distances: source of distances.
        seeds: of the runs; None: all.
        sources: of the runs; None: all.
    """

    name: str
    measure: str = "cka_grouped"
    raw: bool = False
    distances: str = "repaired"
    seeds: Sequence[int] | None = None
    sources: Sequence[str] | None = None


VARIANTS = (
    Variant("as planned"),
    Variant("Song's debiased CKA", measure="cka_debiased"),
    Variant("biased CKA, as in the paper", measure="cka_biased"),
    Variant("raw correlation", raw=True),
    Variant("lang2vec's stored distances, with their placeholders", distances="paper"),
)
ALL_AT_ONCE = Variant(
    "biased CKA, raw, stored distances and one seed together", "cka_biased", raw=True, distances="paper", seeds=(1,)
)


def list_variants(seeds: Sequence[int]) -> list[Variant]:
    """List the variants: one choice changed at a time, each seed by itself, and last all choices of the paper at once."""
    return [*VARIANTS, *(Variant(f"seed {seed} alone", seeds=(seed,)) for seed in seeds), ALL_AT_ONCE]


def correlate(measured: Measurements, variant: Variant) -> pd.DataFrame:
    """Test the three analyses; `r` and what belongs to it is the coefficient that the variant asks for."""
    return _correlate(measured, variant)[0]


def _correlate(measured: Measurements, variant: Variant) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured, pairs = _pair_up(measured, variant)
    tests = infer_correlations(measured, pairs, distance_kinds(pairs), RESAMPLING)
    if not variant.raw:
        return tests, pairs
    raw = {name: tests[f"{name}_pearson"] for name in ("p_qap", "p_max_t", "ci_low", "ci_high")}
    return tests.assign(r=tests["pearson_r"], **raw), pairs


def _pair_up(measured: Measurements, variant: Variant) -> tuple[Measurements, pd.DataFrame]:
    """Choose runs, measure and distances; give what is left, and its pairs."""
    chosen = {key: _select(getattr(measured, key), variant) for key in ("transfer", "impact")}
    measured = replace(measured, **chosen)
    measured, _ = add_distances(measured, partial(compute_distances, KINDS, source=variant.distances))
    impact = None if measured.impact is None else one_measure(measured.impact, variant.measure)
    pairs = compute_pairs(measured.transfer, impact, measured.distances)
    return replace(measured, impact=impact), pairs


def _select(table: pd.DataFrame | None, variant: Variant) -> pd.DataFrame | None:
    if table is None:
        return None
    is_chosen = pd.Series(True, index=table.index)
    if variant.seeds is not None:
        is_chosen &= table["seed"].isin(variant.seeds)
    if variant.sources is not None:
        is_chosen &= table["source_language"].isin(variant.sources)
    return table[is_chosen].reset_index(drop=True)


def verdict(row: pd.Series) -> str:
    """Phrase a claim's verdict with the figures that decide it, for a cell of a table."""
    if row["verdict"] == "not tested":
        return "not tested"
    where = f" ({row['decided_by']})" if row["n_tests"] > 1 else ""
    figures = f"{numbers.coefficient(row['r'])}{where}, {numbers.p_value(row['p_family_wise'])}"
    return f"**{row['verdict']}**; {row['n_bearing_out']} of {row['n_tests']}; {figures}"


def judge_variants(measured: Measurements, variants: Sequence[Variant]) -> list[dict]:
    """Judge each claim by every variant, a row per variant."""
    claims = read_claims("paper")
    rows = []
    for variant in variants:
        judged = judge_claims(claims, correlate(measured, variant)).set_index("claim")
        rows.append({"name": variant.name} | {name: verdict(judged.loc[name]) for name in judged.index})
    return rows


SHOWN_LAYERS = ("01", "04", "08", "12", MEAN_LABEL)
ESTIMATORS = ("cka_grouped", "cka_debiased", "cka_biased")


def compare_estimators(impact: pd.DataFrame) -> list[dict]:
    """Average impact over pairs of different languages at every layer, by each estimator of the same rows."""
    between = impact[~impact["is_in_language"].astype(bool)]
    cells = between.pivot_table(
        index=["layer", "source_language", "target_language"], columns="measure", values="impact", observed=True
    )
    corrections = (cells["cka_grouped"] - cells["cka_debiased"]).groupby("layer").agg(["min", "max"])
    means = cells.groupby("layer")[list(ESTIMATORS)].mean().join(corrections)
    share = (means["cka_grouped"] - means["cka_debiased"]).abs() / means["cka_grouped"].where(
        means["cka_grouped"] >= 0.001
    )
    means["share"] = share
    return [{"layer": layer} | row for layer, row in means.to_dict("index").items()]


def compare_seeds(measured: Measurements, reliability: pd.DataFrame, seeds: Sequence[int]) -> list[dict]:
    """Estimate how much of impact and accuracy is noise between seeds, and how well two seeds agree; empty with one seed."""
    if len(seeds) < 2:
        return []
    by_seed = {seed: _pair_up(measured, Variant(f"seed {seed} alone", seeds=(seed,)))[1] for seed in seeds}
    rows = []
    for row in reliability.dropna(subset="reliability").to_dict("records"):
        is_score = row["outcome"] == "score"
        if is_score or row["layer_label"] in SHOWN_LAYERS:
            label = MEAN_LABEL if is_score else row["layer_label"]
            rows.append(row | {"agreement": _agreement(by_seed, "score" if is_score else "impact", label)})
    return rows


def _agreement(by_seed: dict[int, pd.DataFrame], column: str, label: str) -> float:
    """Average the correlation of two seeds over pairs S != T, source and target effects removed."""
    values = pd.DataFrame(
        {
            seed: pairs[(pairs["layer_label"] == label) & ~pairs["is_in_language"]].set_index(LANGUAGE_PAIR)[column]
            for seed, pairs in by_seed.items()
        }
    )
    sources, targets = (values.index.get_level_values(name).factorize()[0] for name in LANGUAGE_PAIR)
    matrix = correlate_demeaned(values.to_numpy().T, values.to_numpy().T, sources, targets)
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def compare_controls(measured: Measurements) -> list[dict]:
    """Compare the encoder that transfers with those that cannot, over the same three sources and one seed."""
    variant = Variant("multilingual-e5-small", seeds=(1,), sources=CONTROL_SOURCES)
    studies = {variant.name: measured}
    for name, words in CONTROLS.items():
        if (HERE / f"{STUDY}_{name}.xling").is_file():
            studies[words] = gather_study(HERE / f"{STUDY}_{name}.xling")
    rows = []
    for name, study in studies.items():
        tests, pairs = _correlate(study, replace(variant, name=name))
        last = pairs[pairs["layer"] == pairs["layer"].max()]
        others = last[~last["is_in_language"]]["score"]
        own = last[last["is_in_language"]]["score"]
        figures = {"own": own.mean(), "others": others.mean(), "low": others.min(), "high": others.max()}
        signs = tests.loc[_is_of_four(tests), "r"] < 0
        counts = {"n_negative": int(signs.sum()), "n_coefficients": len(signs)}
        rows.append({"name": name, "tests": tests, "impact": last["impact"].mean()} | figures | counts)
    return rows


def _is_of_four(tests: pd.DataFrame) -> pd.Series:
    """Tell which rows are of impact, from layer 1 on, with the distances that say something of every pair."""
    kinds = tests["predictor"].isin(["genetic", "geographic", "syntactic", "featural"])
    return (tests["analysis"] == "impact_vs_distance") & kinds & (tests["layer"] >= 1)


def strongest(tests: pd.DataFrame, analysis: str) -> str:
    """Phrase the row of an analysis with the smallest family-wise p."""
    own = tests[(tests["analysis"] == analysis) & tests["p_max_t"].notna() & (tests["layer_label"] != "mean")]
    if own.empty:
        return "not tested"
    row = own.loc[own.sort_values("r", key=abs, ascending=False)["p_max_t"].idxmin()]
    layer = f" layer {int(row['layer'])}" if pd.notna(row["layer"]) else ""
    return f"{row['predictor']}{layer} {numbers.coefficient(row['r'])}, {numbers.p_value(row['p_max_t'])}"


WORDS = {
    "kinds": KINDS,
    "shown_layers": SHOWN_LAYERS,
    "strongest": strongest,
    "coefficient": numbers.coefficient,
    "p_value": numbers.p_value,
    "percent": numbers.percent,
    "fraction": numbers.fraction,
    "points": lambda regret: f"{100 * regret:.2f}",
    "signed": numbers.signed,
    "verdict": verdict,
}
"""What the template prints numbers with, and which rows it shows."""


MATRICES = {
    "XLM-R, macro-F1, 15 x 15": "xnli_xlmr_f1_15x15.csv",
    "mT5, macro-F1, 15 x 15": "xnli_mt5_f1_15x15.csv",
    "mBERT from English, 14 targets": "xnli_mbert_english.csv",
}


def public_matrices() -> list[dict]:
    """Analyse published matrices: their correlations with distance, and what choices of a source cost in them."""
    rows = []
    for name, file in MATRICES.items():
        measured, _ = gather_csv(HERE / file)
        tests, pairs = _correlate(measured, Variant(name))
        rows.append(describe_matrix(name, tests.set_index("predictor"), pairs, compute_source_choice(pairs)))
    return rows


def describe_matrix(name: str, tests: pd.DataFrame, pairs: pd.DataFrame, choices: pd.DataFrame) -> dict:
    """Analyse a matrix of scores: tests by distance, how much is of single pairs, and the regret of choices of a source."""
    cells = pairs[(pairs["layer_label"] == MEAN_LABEL) & ~pairs["is_in_language"].astype(bool)]
    *_, left = variance_shares(cells["score"].to_numpy(), *(cells[side].factorize()[0] for side in LANGUAGE_PAIR))
    fixed = choices[choices["kind"] == "fixed"]
    best = fixed["choice"].iloc[0].removeprefix("always ") if len(fixed) else ""
    regret = choices.set_index("choice")["regret"].to_dict()
    return {"name": name, "tests": tests, "left": left, "best_fixed": best, "regret": regret}


def gather_context(output_dir: Path) -> dict:
    """Gather everything that the page states; the whole report is written into `output_dir`."""
    measured = gather_study(HERE / f"{STUDY}.xling")
    settings = Settings(resampling=RESAMPLING, claims=read_claims("paper"))
    analysis = analyze(
        partial(compute_distances, KINDS),
        output_dir / STUDY,
        runs=HERE / f"{STUDY}.xling",
        settings=settings,
        specification_distances=OTHER_DISTANCES,
    )
    tests = analysis.tables["correlations"]
    public = [
        *public_matrices(),
        describe_matrix(
            "multilingual-e5-small, accuracy, this study",
            _of_transfer(tests),
            analysis.tables["pairs"],
            analysis.tables["source_choice"],
        ),
    ]
    return {
        **yaml.safe_load((HERE / "results.yaml").read_text(encoding="utf-8")),
        **WORDS,
        **_context_of_runs(measured.runs),
        **_context_of_analysis(analysis),
        **_context_of_estimators(measured.impact),
        **_context_of_seeds(measured, analysis),
        "variants": judge_variants(measured, list_variants(sorted(measured.runs["seed"].unique()))),
        "controls": compare_controls(measured),
        "public": public,
    }


def _context_of_runs(runs: pd.DataFrame) -> dict:
    """Count how many runs there are, how many are to come, and what their measurement cannot tell from nothing."""
    missing = PLANNED - len(runs)
    return {
        "n_runs": len(runs),
        "unfinished": f"; {missing} of the {PLANNED} planned ones are still to come" if missing else "",
        "noise_floor": f"{runs['noise_floor'].max():.0e}",
    }


def _context_of_analysis(analysis: Analysis) -> dict:
    """Gather the planned analysis of all runs: claims, tests, and what the summary counts."""
    tables = analysis.tables
    tests, shares = tables["correlations"], tables["variance_shares"]
    cells = tables["pairs"].drop_duplicates(["source_language", "target_language"])
    return {
        "facts": analysis.facts,
        "claims": tables["claims"],
        "tests": tests,
        "shares": shares,
        "found": findings(tests, shares),
        "accuracy": cells["score"].mean(),
    }


def _context_of_estimators(impact: pd.DataFrame) -> dict:
    """Gather impact by each estimator, and where they differ most."""
    rows = compare_estimators(impact)
    return {
        "estimators": rows,
        "largest_correction": max(abs(row[end]) for row in rows for end in ("min", "max")),
        "most_corrected": max(rows, key=lambda row: 0.0 if pd.isna(row["share"]) else row["share"]),
    }


def _context_of_seeds(measured: Measurements, analysis: Analysis) -> dict:
    """Gather the noise between seeds, and by outcome (impact: mean over layers) how far two seeds agree; nothing of one seed."""
    rows = compare_seeds(measured, analysis.tables["reliability"], analysis.facts["seeds"])
    means = [row for row in rows if row["layer_label"] in ("", MEAN_LABEL)]
    return {
        "seeds": rows,
        "agreement": {row["outcome"]: numbers.coefficient(row["agreement"]) for row in means},
    }


def findings(tests: pd.DataFrame, shares: pd.DataFrame) -> dict[str, str | int]:
    """Gather the numbers of the page's summary."""
    by = {name: own for name, own in tests.groupby("analysis")}
    impact, transfer = by["impact_vs_distance"], by["transfer_vs_distance"]
    four = impact[impact["predictor"].isin(["genetic", "geographic", "syntactic", "featural"])]
    blocks, mean = tests[_is_of_four(tests)], four[four["layer_label"] == "mean"]
    mediated = by["impact_vs_transfer"]
    share = shares[(shares["outcome"] == "impact") & (shares["layer_label"] == "08")]["source"].iloc[0]
    return {
        "n_negative": int((blocks["r"] < 0).sum()),
        "n_coefficients": len(blocks),
        "n_of_mean": int((mean["p_max_t"] <= LEVEL).sum()),
        "genetic_layers": _significant(blocks[blocks["predictor"] == "genetic"], "p_max_t"),
        "of_transfer": ", ".join(
            f"{row.predictor} ({numbers.coefficient(row.r)})" for row in transfer.itertuples() if row.p_max_t <= LEVEL
        ),
        "transfer_layers": _significant(mediated[(mediated["layer"] >= 1) & (mediated["r"] > 0)], "p_max_t"),
        "n_genetic_raw": int((blocks[blocks["predictor"] == "genetic"]["p_max_t_pearson"] <= LEVEL).sum()) or "no",
        "syntactic_raw": _significant(blocks[blocks["predictor"] == "syntactic"], "p_max_t_pearson"),
        "source_share": numbers.percent(share),
    }


def _significant(tests: pd.DataFrame, column: str) -> str:
    layers = sorted(tests.loc[tests[column] <= LEVEL, "layer"].astype(int))
    return ", ".join(map(str, layers)) or "none"


def _of_transfer(tests: pd.DataFrame) -> pd.DataFrame:
    return tests[tests["analysis"] == "transfer_vs_distance"].set_index("predictor")


def render(context: dict) -> str:
    """Fill the page's template."""
    loader = jinja2.FileSystemLoader(HERE)
    words = jinja2.Environment(undefined=jinja2.StrictUndefined)
    wanted = [name for name in SUMMARIES if name != "seeds_summary" or context["seeds"]]
    summaries = {name: words.from_string(context[name]).render(context) for name in wanted}
    context = context | summaries
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("results.md.jinja").render(context).rstrip() + "\n"


def differences(written: str, computed: str) -> list[str]:
    """List the lines of which the words differ, or a number by more than its last digit."""
    old, new = written.splitlines(), computed.splitlines()
    if len(old) != len(new):
        return [f"{len(old)} lines are written, {len(new)} computed"]
    return [f"- {a}\n+ {b}" for a, b in zip(old, new, strict=True) if not _agree(a, b)]


_NUMBER = re.compile(r"\d*\.\d+|\d+")


def _agree(a: str, b: str) -> bool:
    if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
        return False
    pairs = zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
    return all(
        abs(float(x) - float(y)) <= 10 ** -len(x.partition(".")[2]) * (1 if "." in x else 0) + 1e-9 for x, y in pairs
    )


def main() -> int:
    """Write the page, or compare it; the exit status is 1 where it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; compare the numbers of docs/results.md")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("results"), help="of the whole report; default: results"
    )
    options = parser.parse_args()
    page = render(gather_context(options.output_dir))
    if options.check:
        found = differences(PAGE.read_text(encoding="utf-8"), page)
        print("\n".join(found) or f"{PAGE.name} states what the packs say")
        return int(bool(found))
    PICTURES.mkdir(exist_ok=True)
    for name in FIGURES:
        shutil.copy(options.output_dir / STUDY / "figures" / f"{name}.png", PICTURES / f"{name}.png")
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE}; the whole report: {options.output_dir / STUDY / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
