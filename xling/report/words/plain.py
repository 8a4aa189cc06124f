"""Phrases findings for a reader who is no statistician: which way, where, how strong, and what would not have been seen."""

import pandas as pd

from xling.analysis.inference.associations import RAW
from xling.analysis.schema import IMPACT_VS_DISTANCE, IMPACT_VS_TRANSFER, MEAN_LABEL, TRANSFER_VS_DISTANCE
from xling.report.words import numbers, phrases

RELATIONS = {
    (IMPACT_VS_DISTANCE, -1): "The nearer a target language is to the source, the more fine-tuning moves its vectors",
    (IMPACT_VS_DISTANCE, 1): "The farther a target language is from the source, the more fine-tuning moves its vectors",
    (TRANSFER_VS_DISTANCE, -1): "The nearer a target language is to the source, the higher its {metric}",
    (TRANSFER_VS_DISTANCE, 1): "The farther a target language is from the source, the higher its {metric}",
    (IMPACT_VS_TRANSFER, -1): "The more fine-tuning moves a target language, the lower its {metric}",
    (IMPACT_VS_TRANSFER, 1): "The more fine-tuning moves a target language, the higher its {metric}",
}
MEAN = "mean over layers"
QUESTIONS = {
    IMPACT_VS_DISTANCE: "impact with distance",
    IMPACT_VS_TRANSFER: "impact with {metric}",
    TRANSFER_VS_DISTANCE: "{metric} with distance",
}


def shown(tests: pd.DataFrame) -> pd.DataFrame:
    """Keep the coefficients that differ from 0 family-wise."""
    return tests[tests["p_max_t"] <= phrases.LEVEL]


def how_to_read(tests: pd.DataFrame) -> str:
    """Explain what the coefficients of the findings compare, and what “shown” means; empty without tests.

    Args:
        tests: rows of ``correlations``, of all analyses.
    """
    if tests.empty or tests["p_max_t"].isna().all():
        return ""
    compared = (
        "The pairs of one source, or to one target, are compared as they are: r is the raw correlation."
        if (tests["main"] == RAW).all()
        else "Pairs of languages are compared after the average of each source and of each target is taken away: does a pair "
        "differ from what its source and its target let expect?"
    )
    return (
        f"{compared} A coefficient r runs from −1 to 1. “Shown” is what differs from 0 after correction for all coefficients "
        "of its analysis (family-wise, 5 %)."
    )


def describe_relation(tests: pd.DataFrame, name: str, metric: str) -> str:
    """Say what one analysis shows; empty where it shows nothing.

    Args:
        tests: the rows of ``correlations`` of that analysis.
        name: name of the analysis, e.g. ``impact_vs_distance``.
        metric: words for the study's score, e.g. ``accuracy``.
    """
    kept = shown(tests)
    parts = [_relation(rows, tests, (name, sign), metric) for sign, rows in _by_sign(kept)]
    missing = [predictor for predictor in tests["predictor"].unique() if predictor not in set(kept["predictor"])]
    if kept.empty:
        return ""
    if missing:
        parts.append(f"Not shown for {numbers.listing(missing)} distance.")
    return " ".join([*parts, _strongest(kept), _unseen(tests)]).strip()


def describe_nothing(families: dict[str, pd.DataFrame], metric: str) -> str:
    """Say in one sentence of all analyses that show nothing what they asked, and what they would have shown.

    Args:
        families: rows of ``correlations`` by analysis; only those without a significant coefficient.
        metric: the study's score in words.
    """
    asked = [f"{QUESTIONS[name].format(metric=metric)} ({_could_show(tests)})" for name, tests in families.items()]
    return f"These data do not show an association of {' or of '.join(asked)}. That is no evidence that there is none."


def _by_sign(kept: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    negative = kept["r"] < 0
    return [(sign, rows) for sign, rows in ((-1, kept[negative]), (1, kept[~negative])) if len(rows)]


def _relation(rows: pd.DataFrame, tests: pd.DataFrame, key: tuple[str, int], metric: str) -> str:
    return f"{RELATIONS[key].format(metric=metric)}: shown {_places(rows, tests)}."


def _places(rows: pd.DataFrame, tests: pd.DataFrame) -> str:
    predictors = [name for name in tests["predictor"].unique() if name in set(rows["predictor"])]
    where = {name: _layers(_labels_of(rows, name), _labels_of(tests, name)) for name in predictors}
    if predictors == ["impact"]:
        return f"at {where['impact']}" if where["impact"] != MEAN else f"in the {MEAN}"
    return f"for {numbers.listing([f'{name} ({place})' if place else name for name, place in where.items()])} distance"


def _labels_of(rows: pd.DataFrame, predictor: str) -> list[str]:
    return rows.loc[rows["predictor"] == predictor, "layer_label"].tolist()


def _layers(found: list[str], every: list[str]) -> str:
    single, tested = ([int(label) for label in labels if label not in ("", MEAN_LABEL)] for labels in (found, every))
    if not tested:
        return ""
    if not single:
        return MEAN
    return "every layer" if set(single) == set(tested) else layer_ranges(single)


def layer_ranges(layers: list[int]) -> str:
    """Name layers, neighbours together.

    >>> layer_ranges([12]), layer_ranges([7, 5, 6, 1, 12, 11])
    ('layer 12', 'layers 1, 5–7 and 11–12')
    """
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    named = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return f"layer{'' if len(layers) == 1 else 's'} {numbers.listing(named)}"


def _strongest(kept: pd.DataFrame) -> str:
    row = kept.loc[kept["r"].abs().idxmax()]
    where = ", ".join(
        part for part in (phrases.predictor_phrase(row["predictor"]), phrases.layer_phrase(row["layer_label"])) if part
    )
    figures = [f"r\xa0=\xa0{numbers.coefficient(row['r'])}", numbers.interval(row["ci_low"], row["ci_high"])]
    return f"Strongest: {where}, {', '.join(part for part in figures if part)}."


def _unseen(tests: pd.DataFrame) -> str:
    size = _detectable(tests)
    return f"What is weaker than |r|\xa0=\xa0{size} this design often overlooks." if size else ""


def _could_show(tests: pd.DataFrame) -> str:
    tested = tests[tests["p_max_t"].notna()]
    if tested.empty:
        return f"not tested: {phrases.reasons(tests) or 'no reason given'}"
    size = _detectable(tests)
    seen = (
        f"|r| of {size} would be found in 80\xa0% of such studies" if size else "none, however strong, would be found"
    )
    return f"{numbers.plural(len(tested), 'coefficient')}; {seen}"


def _detectable(tests: pd.DataFrame) -> str:
    return numbers.coefficient(tests.loc[tests["p_max_t"].notna(), "detectable_family_wise"].dropna().max())
