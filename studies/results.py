"""Writes docs/results.md with its figures from the packs in this folder: ``make results``, or ``--check``s the committed ones."""

import argparse
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from studies.comparisons import (
    HERE,
    SHOWN_LAYERS,
    STUDY,
    compare_controls,
    compare_estimators,
    compare_seeds,
    describe_matrix,
    is_of_four,
    public_matrices,
)
from studies.random_sets import JUDGED, draw_sets, judge_sets
from studies.tasks import compare_tasks, draw_tasks
from studies.treatments import METRICS, compare_treatments
from studies.variants import RESAMPLING, judge_variants, list_variants, verdict
from xling.analysis.claims import LEVEL, read_claims
from xling.analysis.inputs.gather import gather_study
from xling.analysis.inputs.measurements import Measurements, Settings
from xling.analysis.schema import MEAN_LABEL, Analysis
from xling.commands.analyze import analyze
from xling.distances import KINDS, compute_distances
from xling.report.save import save_figure
from xling.report.sections.interventions import draw_interventions
from xling.report.words import numbers

DOCS = HERE.parent / "docs"
PAGE, PICTURES = DOCS / "results.md", DOCS / "results"
FIGURES = (
    "impact_vs_distance_heatmap",
    "impact_per_layer",
    "transfer_matrix",
    "specifications_impact",
    "specifications_transfer",
    "interventions",
    "random_sets",
    "tasks",
)
PLANNED = 45
OTHER_DISTANCES = ("individual", "average", "knn", "paper")
"""Tables of distances in the specification curve, beside the repaired one of the plan."""
SUMMARIES = {
    "summary": "",
    "seeds_summary": "seeds",
    "controls_summary": "",
    "treatments_summary": "",
    "sets_summary": "",
    "tasks_summary": "tasks",
    "matrices_summary": "",
}
"""Entries of results.yaml that are words around computed numbers -> what must be there for them to be said."""


def strongest(tests: pd.DataFrame, analysis: str) -> str:
    """Phrase the row of an analysis with the smallest family-wise p."""
    own = tests[(tests["analysis"] == analysis) & tests["p_max_t"].notna() & (tests["layer_label"] != "mean")]
    if own.empty:
        return "not tested"
    row = own.loc[own.sort_values("r", key=abs, ascending=False)["p_max_t"].idxmin()]
    layer = f" layer {int(row['layer'])}" if pd.notna(row["layer"]) else ""
    return f"{row['predictor']}{layer} {numbers.coefficient(row['r'])}, {numbers.p_value(row['p_max_t'])}"


def significant_layers(tests: pd.DataFrame, kind: str) -> str:
    """List the layers at which impact goes with a distance, family-wise."""
    of_impact = tests[(tests["analysis"] == "impact_vs_distance") & (tests["predictor"] == kind)]
    return _significant(of_impact[of_impact["layer"].notna()], "p_max_t")


WORDS = {
    "kinds": KINDS,
    "shown_layers": SHOWN_LAYERS,
    "shown_metrics": METRICS,
    "judged": JUDGED,
    "strongest": strongest,
    "significant_layers": significant_layers,
    "coefficient": numbers.coefficient,
    "p_value": numbers.p_value,
    "percent": numbers.percent,
    "fraction": numbers.fraction,
    "points": lambda regret: f"{100 * regret:.2f}",
    "signed": numbers.signed,
    "verdict": verdict,
}
"""What the template prints numbers with, and which rows it shows."""


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
    treatments = compare_treatments()
    sets = judge_sets(measured)
    tasks = compare_tasks(measured)
    pictures = output_dir / STUDY / "figures"
    save_figure(draw_interventions(treatments["table"]), pictures, "interventions")
    save_figure(draw_sets(sets["changes"]), pictures, "random_sets")
    save_figure(draw_tasks(tasks), pictures, "tasks")
    return {
        **yaml.safe_load((HERE / "results.yaml").read_text(encoding="utf-8")),
        **WORDS,
        **_context_of_runs(measured.runs),
        **_context_of_analysis(analysis),
        **_context_of_estimators(measured.impact),
        **_context_of_seeds(measured, analysis),
        "variants": judge_variants(measured, list_variants(sorted(measured.runs["seed"].unique()))),
        "controls": compare_controls(measured),
        "treatments": treatments,
        "sets": sets,
        "tasks": tasks,
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
    blocks, mean = tests[is_of_four(tests)], four[four["layer_label"] == "mean"]
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
    wanted = [name for name, of in SUMMARIES.items() if not of or context[of]]
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
