"""Phrases the tests of an analysis: each sentence states its n and p, and says so where nothing is significant."""

import pandas as pd

from xling.analysis.inference.associations import RAW
from xling.analysis.inference.power import SMALL
from xling.analysis.schema import MEAN_LABEL
from xling.report.words import numbers

LEVEL = 0.05


def layer_phrase(label: str) -> str:
    """Name a layer in running text.

    >>> layer_phrase("07"), layer_phrase("mean"), layer_phrase("")
    ('layer 7', 'mean over layers', '')
    """
    return {MEAN_LABEL: "mean over layers", "": ""}.get(label, f"layer {label.lstrip('0') or '0'}")


def predictor_phrase(predictor: str) -> str:
    """Name a predictor in running text.

    >>> predictor_phrase("genetic"), predictor_phrase("impact")
    ('genetic distance', 'impact')
    """
    return predictor if predictor == "impact" else f"{predictor} distance"


def range_of(counts: pd.Series) -> str:
    r"""Phrase counts that may differ between rows.

    >>> range_of(pd.Series([56, 56])), range_of(pd.Series([50, 56]))
    ('n\xa0=\xa056', 'n\xa0=\xa050 to 56')
    """
    low, high = int(counts.min()), int(counts.max())
    return f"n\xa0=\xa0{low}" if low == high else f"n\xa0=\xa0{low} to {high}"


def describe_test(row: pd.Series) -> str:
    """State one coefficient with its interval, number of pairs and p-values."""
    where = ", ".join(part for part in (predictor_phrase(row["predictor"]), layer_phrase(row["layer_label"])) if part)
    figures = [f"r\xa0=\xa0{numbers.coefficient(row['r'])}", numbers.interval(row["ci_low"], row["ci_high"])]
    figures.append(f"n\xa0=\xa0{int(row['n_pairs'])} pairs")
    if row["n_pairs_permuted"] < row["n_pairs"]:
        figures.append(f"permuted over {int(row['n_pairs_permuted'])} of them")
    figures += [f"QAP {numbers.p_value(row['p_qap'])}", f"family-wise {numbers.p_value(row['p_max_t'])}"]
    if row["main"] != RAW:
        raw, p = numbers.coefficient(row["pearson_r"]) or "none", numbers.p_value(row["p_max_t_pearson"])
        figures.append(f"raw r\xa0=\xa0{raw} (family-wise {p})")
    return f"{where}: {', '.join(part for part in figures if part)}"


def describe_main(tests: pd.DataFrame) -> str:
    """Say what the main coefficient of one analysis is, and what the raw one mixes up; empty where there is no test."""
    if tests.empty:
        return ""
    if (tests["main"] == RAW).all():
        return (
            "The design leaves nothing once source and target effects are removed, so r is the raw correlation: it cannot "
            "tell a target that is near from one that is easy for every source."
        )
    return (
        "r is taken after source and target effects are removed from both sides: is a pair better than its source and its "
        "target let expect? The raw r also mixes in which sources are better and which targets are easier."
    )


def describe_variance(shares: pd.DataFrame, outcome: str, name: str) -> str:
    """Say what the variance of an outcome over pairs consists of; empty where that is not known.

    Args:
        shares: table ``variance_shares``, or an empty frame.
        outcome: value of the column `outcome`; for impact, the mean over layers is described.
        name: name of the outcome in the sentence, e.g. accuracy.
    """
    if shares.empty:
        return ""
    labels = (MEAN_LABEL, "")
    rows = shares[(shares["outcome"] == outcome) & shares["layer_label"].isin(labels)].dropna(subset="rest")
    if rows.empty:
        return ""
    row = rows.iloc[0]
    source, target, rest = (numbers.percent(row[part]) for part in ("source", "target", "rest"))
    return (
        f"Of the variance of {name} over pairs S ≠ T, source languages explain {source}, target languages {target}; {rest} is "
        "left to single pairs and noise."
    )


def describe_power(tests: pd.DataFrame) -> str:
    """Say what effect this design would have found, and how many coefficients exclude a large one."""
    tested = tests[tests["p_max_t"].notna()]
    if tested.empty:
        return ""
    found = tested["detectable_family_wise"].dropna()
    if found.empty:
        seen = "No correlation, however strong, would be found family-wise with a probability of 80 % by this design"
    else:
        low, high = (numbers.coefficient(value) for value in (found.min(), found.max()))
        size = low if low == high else f"{low} to {high}"
        seen = f"This design finds |r| of at least {size} family-wise with a probability of 80 %"
        if len(found) < len(tested):
            seen += f" (for {len(tested) - len(found)} of the coefficients none, however strong)"
    small = int(tested["is_small"].sum())
    which = "no coefficient" if small == 0 else f"{small} of {numbers.plural(len(tested), 'coefficient')}"
    return f"{seen}; |r| > {numbers.coefficient(SMALL, 1)} is excluded by the 95 % interval of {which}."


def describe_carriers(tests: pd.DataFrame) -> str:
    """Name single languages without which less than half of a significant coefficient is left; empty where there is none."""
    kept = tests[(tests["p_max_t"] <= LEVEL) & (tests["carried_by"].fillna("") != "")]
    if kept.empty:
        return ""
    names = numbers.listing([f"{name} ({count})" for name, count in _counts(kept["carried_by"])])
    return f"Significant coefficients of which less than half is left without one language: {names}."


def strongest(tests: pd.DataFrame) -> pd.Series | None:
    """Find the row with the largest |r|, or None where no coefficient exists."""
    sizes = tests["r"].abs().dropna()
    return None if sizes.empty else tests.loc[sizes.idxmax()]


def count_significant(tests: pd.DataFrame) -> tuple[int, int, int]:
    """Count coefficients tested, significant family-wise, and significant at a false discovery rate of 5 %."""
    family, rate = tests["p_max_t"], tests["p_bh"]
    return int(family.notna().sum()), int((family <= LEVEL).sum()), int((rate <= LEVEL).sum())


def describe_family(tests: pd.DataFrame) -> list[str]:
    """Say how much of one analysis survives correction, and what its strongest coefficient is."""
    top = strongest(tests)
    if top is None:
        return [f"No coefficient could be computed: {reasons(tests) or 'no pair has both values'}."]
    n_tested, family, rate = count_significant(tests)
    if n_tested == 0:
        verdict = f"No p-value is available ({reasons(tests) or 'no reason given'}), so nothing is claimed."
    elif family == rate == 0:
        verdict = (
            f"{_none_of(n_tested)} significant after correction{_form(tests)}, neither family-wise (max-T) nor at a false "
            "discovery rate of 5 % (Benjamini–Hochberg)."
        )
    else:
        verdict = (
            f"Of {numbers.plural(n_tested, 'coefficient')} tested{_form(tests)}, {family} {differ(family)} from 0 family-wise "
            f"(max-T, "
            f"p ≤ .05) and {rate} at a false discovery rate of 5 % (Benjamini–Hochberg)."
        )
    return [part for part in (verdict, f"Strongest in size: {describe_test(top)}.", describe_power(tests)) if part]


def _form(tests: pd.DataFrame) -> str:
    return (
        " (raw: this design allows no other)"
        if (tests["main"] == RAW).all()
        else " (source and target effects removed)"
    )


def _none_of(count: int) -> str:
    return "The single coefficient tested is not" if count == 1 else f"None of the {count} coefficients tested is"


def differ(count: int) -> str:
    """Conjugate the verb for a count of coefficients.

    >>> differ(1), differ(0)
    ('differs', 'differ')
    """
    return "differs" if count == 1 else "differ"


def describe_signs(tests: pd.DataFrame) -> str:
    """Count the directions of the family-wise significant coefficients; empty where there is none."""
    kept = tests[tests["p_max_t"] <= LEVEL]
    negative, positive = int((kept["r"] < 0).sum()), int((kept["r"] > 0).sum())
    if kept.empty:
        return ""
    predictors = numbers.listing([f"{name} ({count})" for name, count in _counts(kept["predictor"])])
    return (
        f"Signs of those significant family-wise: {negative} negative, {positive} positive. By predictor: {predictors}."
    )


def _counts(names: pd.Series) -> list[tuple[str, int]]:
    counts = names.value_counts()
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def reasons(tests: pd.DataFrame) -> str:
    """List the distinct reasons given for missing numbers, with the layers they concern; empty where there is none."""
    given = tests[tests["reason"].fillna("") != ""]
    phrases = []
    for reason, rows in given.groupby("reason", sort=False):
        labels = sorted({layer_phrase(label) for label in rows["layer_label"]} - {""})
        where = f"{numbers.listing(labels)}: " if 0 < len(labels) <= 3 else ""
        phrases.append(f"{where}{reason}")
    return "; ".join(phrases)


def note_per_predictor(tests: pd.DataFrame) -> dict[str, str]:
    """Write the line above each scatter panel: coefficient, n and corrected p-value."""
    return {
        row["predictor"]: f"r = {numbers.coefficient(row['r'])}, n = {int(row['n_pairs'])}, "
        f"family-wise {numbers.p_value(row['p_max_t'])}"
        for _, row in tests.iterrows()
        if not numbers.is_missing(row["r"])
    }
