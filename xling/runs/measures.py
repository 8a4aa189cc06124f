"""Turns wide tables of impact, with a column per measure, into long ones, with a row per measurement and measure.

The monitor holds one record per layer with all measures side by side. The tables that a run writes, and all that are made of them,
are long. Those of version 0.1.0 are wide, and become long when they are read.
"""

import pandas as pd

from xling.runs.tables import IMPACT

DEBIASED, BIASED, GROUPED = "cka_debiased", "cka_biased", "cka_grouped"

PREFERRED = (GROUPED, DEBIASED)
"""The main measure, where none is asked for, is the first of these that every run has."""

SIMILARITIES = ("anc", "svcca", "pwcca", "mean_cca", "procrustes", "rbf_cka", "rsa", "mutual_knn")
"""Measures that a wide table of version 0.1.0 may hold beside debiased and biased CKA."""

_IN_POOLING = "@"


def in_pooling(measure: str, pooling: str) -> str:
    """Name a measure of rows pooled in another way than the run's main one.

    >>> in_pooling("cka_grouped", "cls")
    'cka_grouped@cls'
    """
    return f"{measure}{_IN_POOLING}{pooling}"


def split_pooling(name: str) -> tuple[str, str]:
    """Give the measure and the pooling of a name; the pooling is empty where it is the run's main one.

    >>> split_pooling("cka_grouped@cls"), split_pooling("svcca")
    (('cka_grouped', 'cls'), ('svcca', ''))
    """
    measure, _, pooling = name.partition(_IN_POOLING)
    return measure, pooling


_CKAS = {DEBIASED: "impact_debiased", BIASED: "impact_biased"}


def to_long(wide: pd.DataFrame, similarities: tuple[str, ...] = SIMILARITIES) -> pd.DataFrame:
    """Give each measure of a wide table rows of its own.

    Args:
        wide: one row per measurement, with columns for keys, layer, n_examples, impact (by the measure that the column `estimator`
            names, by debiased CKA without that column), impact_debiased and impact_biased, similarities by their own name, and
            columns on the uncertainty of impact.
        similarities: names of columns that are similarities, 1 for identical representations.

    Returns:
        Columns of :data:`xling.runs.tables.IMPACT`, then the others; rows in the order of `wide`, the main measure of each first.
        ``impact`` is 1 - similarity, and ``chance`` the similarity after the pairing of groups is shuffled. Columns on the
        uncertainty of impact belong to the main measure, and are NaN for others.
    """
    if wide.empty:
        return wide.reindex(columns=[*IMPACT])
    wide = wide.reindex(columns=list(dict.fromkeys([*wide.columns, "estimator", "n_groups"])))
    estimator = wide["estimator"].astype(object).fillna(DEBIASED)
    present = [name for name in similarities if name in wide.columns]
    main = wide.assign(measure=estimator).drop(columns=[*_CKAS.values(), *present, "estimator"], errors="ignore")
    others = {name: wide[column] for name, column in _CKAS.items() if column in wide} | {
        name: 1.0 - wide[name] for name in present
    }
    shared = [name for name in main.columns if name in IMPACT and name not in ("impact", "measure")]
    levels = {name: f"chance_{name}" for name in (*PREFERRED, *others) if f"chance_{name}" in wide}
    main = main.drop(columns=[*levels.values()])
    if levels:
        main = main.assign(
            chance=[
                row.get(f"chance_{row['estimator']}") for row in wide.assign(estimator=estimator).to_dict("records")
            ]
        )
    rows = [main]
    for name, impact in others.items():
        own = wide.loc[estimator != name, shared].assign(measure=name, impact=impact)
        if name in levels:
            own = own.assign(chance=wide[levels[name]])
        rows.append(own.assign(reason=own["reason"].where(own["impact"].isna(), "")))
    long = pd.concat(rows).sort_index(kind="stable").reset_index(drop=True)
    return long[[*IMPACT, *(name for name in long.columns if name not in IMPACT)]]
