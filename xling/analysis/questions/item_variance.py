"""Estimates how much a comparison of two strategies owes to the examples that happened to be evaluated.

All runs are scored on the same examples, in parallel over the languages. Two models that are equally good still answer some
examples differently, and do so alike in every language and under every seed, so the spread over seeds and sources does not show
it. Where the runs stored their predictions, it is estimated: an example's group (all its translations, and what shares its
premise) is one draw.

With ``c[s, g]`` what group g contributes to the difference of source s, the variance of the mean difference is

    var over sources of sum_g c[s, g] / n_sources + n_groups * var over groups of mean_s c[s, g] - the part that is in both

(two-way clustering: Cameron, Gelbach & Miller 2011, J. Business & Economic Statistics 29). It is what a bootstrap over sources
and groups estimates, without that bootstrap's shortness for few sources; the t interval has Satterthwaite's degrees of freedom.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

ITEM_METRICS = ("source_score", "mean_target_score", "transfer_gap")
"""Metrics that are sums over examples where the score is an accuracy."""

_RUN = ["study", "source_language", "seed"]


OVER_SOURCES, OVER_SEEDS = "sources", "seeds of one source"
"""What an interval is taken over: seeds only where they are all there is, since those of one source share its language."""


class Interval(NamedTuple):
    """A t interval and what it rests on."""

    low: float
    high: float
    over: str


def contributions(predictions: pd.DataFrame, strategy: str, reference: str) -> dict[str, pd.DataFrame]:
    """Split differences in accuracy into what each group of examples contributes.

    Args:
        predictions: columns of :data:`xling.runs.tables.PREDICTIONS`; of questions, whose gold is a list, nothing counts as right.
        strategy: one side.
        reference: the other side; only examples that both predicted count.

    Returns:
        Per metric of `ITEM_METRICS` a row per run (study, source_language, seed) and a column per group; a row's sum is the run's
        difference in the metric.
    """
    keys = [*_RUN, "target_language", "example_id"]
    columns = ["strategy", "group_id", "gold", "predicted", *keys]
    plain = predictions.loc[predictions["strategy"].isin((strategy, reference)), columns].astype(
        object
    )  # categories may differ
    right = plain.assign(right=(plain["gold"] == plain["predicted"]).astype(float))
    ours, theirs = (right[right["strategy"] == name].set_index(keys) for name in (strategy, reference))
    both = ours[["right", "group_id"]].join(theirs["right"].rename("reference"), how="inner").reset_index()
    both["difference"] = both["right"] - both["reference"]
    is_source = (both["source_language"] == both["target_language"]).to_numpy()
    both["difference"] /= both.groupby([*_RUN, "target_language"])["difference"].transform("size")
    n_targets = both[~is_source].groupby(_RUN)["target_language"].nunique().rename("n_targets")
    both = both.join(n_targets, on=_RUN)
    both["source_score"] = np.where(is_source, both["difference"], 0.0)
    both["mean_target_score"] = np.where(is_source, 0.0, both["difference"] / both["n_targets"])
    both["transfer_gap"] = both["source_score"] - both["mean_target_score"]
    sums = both.groupby([*_RUN, "group_id"])[list(ITEM_METRICS)].sum()
    return {metric: sums[metric].unstack("group_id", fill_value=0.0) for metric in ITEM_METRICS}


def t_interval(values: pd.DataFrame | pd.Series, confidence: float = 0.95) -> Interval:
    """Compute the interval of the mean difference over sources, or over the seeds of a single source.

    Args:
        values: differences of runs, indexed by study, source_language and seed; or their contributions per group.
        confidence: probability, 0..1.

    Returns:
        The interval; NaN where there is a single run.
    """
    table = values.to_frame() if isinstance(values, pd.Series) else values
    several = table.index.get_level_values("source_language").nunique() > 1
    clusters = table.groupby("source_language").mean() if several else table
    over = OVER_SOURCES if several else OVER_SEEDS
    matrix = clusters.to_numpy(float)  # [n_clusters, n_groups]
    n, n_groups = matrix.shape
    if n < 2:
        return Interval(np.nan, np.nan, over)
    spread = matrix.sum(axis=1).var(ddof=1) / n
    variance, freedom = spread, float(n - 1)
    if n_groups > 1:
        over += " and examples"
        of_items = n_groups * matrix.mean(axis=0).var(ddof=1)
        residual = matrix - matrix.mean(axis=0) - matrix.mean(axis=1, keepdims=True) + matrix.mean()
        in_both = n_groups * (residual**2).sum() / ((n - 1) * (n_groups - 1)) / n
        variance = max(spread + of_items - in_both, spread, of_items)
        # without any variance 0 / 0 would be NaN; as it is, the lower bound below holds
        freedom = variance**2 / max(spread**2 / (n - 1) + of_items**2 / (n_groups - 1), 1e-300)
        freedom = min(max(freedom, n - 1), n_groups - 1)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance)
    mean = matrix.sum(axis=1).mean()
    return Interval(float(mean - half), float(mean + half), over)


def t_intervals(values: pd.Series, keys: list[str]) -> pd.DataFrame:
    """Compute the mean over sources and its interval for many groups of runs at once, as :func:`t_interval` does for one.

    Args:
        values: of runs, indexed by `keys`, study, source_language and seed; finite.
        keys: levels that name a group.

    Returns:
        mean, low, high, over and n_runs, indexed by `keys`, ascending; low and high are NaN for a single run.
    """
    of_sources = values.groupby([*keys, "source_language"], observed=True).mean()
    over_sources, over_runs = (
        part.groupby(keys, observed=True).agg(["mean", "var", "size"]) for part in (of_sources, values)
    )
    several = over_sources["size"] > 1
    clusters = over_sources.where(several, over_runs)
    half = special.stdtrit(clusters["size"] - 1, 0.975) * np.sqrt(clusters["var"] / clusters["size"])
    return pd.DataFrame(
        {
            "mean": over_sources["mean"],
            "low": clusters["mean"] - half,
            "high": clusters["mean"] + half,
            "over": np.where(several, OVER_SOURCES, OVER_SEEDS),
            "n_runs": over_runs["size"],
        }
    )
