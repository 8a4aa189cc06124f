"""Judges claims, a paper's or one's own: each gets a verdict from the tests of the analysis.

A claim names an analysis, predictors and layers, hence a set of tests (rows of ``correlations``). A test *bears it out* where
its family-wise p is at most .05 and its main coefficient has the claimed direction. It *rules it out* where the 95 %
interval holds no coefficient of the claimed direction that is as large as the claimed strength. What needs every one of several
tests is an intersection of hypotheses, which needs no further correction for the number of tests (Berger 1982).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from xling.analysis.schema import ANALYSES, TRANSFER_VS_DISTANCE
from xling.errors import MissingFileError, XlingValueError, check_known
from xling.storage.yaml_text import parse_yaml

SUPPORTED, CONTRADICTED, NOT_SHOWN, NOT_TESTED = "supported", "contradicted", "not shown", "not tested"
DIRECTIONS = ("positive", "negative", "either")
HOLDS_FOR = ("every", "any")
LEVEL = 0.05
"""Family-wise p-value up to which a test bears a claim out."""

CLAIMS = {
    "claim": "its name",
    "text": "the claim in a sentence",
    "source": "who claims it",
    "analysis": "impact_vs_distance, impact_vs_transfer or transfer_vs_distance",
    "direction": "claimed direction of the main coefficient: positive, negative or either",
    "strength": "smallest absolute value of the main coefficient that would bear the claim out",
    "holds_for": "every: each test must bear the claim out; any: one is enough",
    "n_tests": "tests that the claim speaks of",
    "n_bearing_out": "tests among them that bear it out",
    "n_ruling_out": "tests among them that rule it out",
    "verdict": "supported, contradicted, not shown or not tested",
    "decided_by": "predictor and layer of the test that decides: the weakest where every test must hold, else the strongest",
    "r": "main coefficient of that test",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end of it",
    "p_family_wise": "its family-wise p-value: max-T over all rows of its analysis",
    "detectable": "smallest |r| of that test that a family-wise test finds in 80 % of simulated studies of this design",
    "reason": "why it was not tested, else empty",
}
"""Columns of ``claims``: one row per claim, in their order."""


@dataclass(frozen=True)
class Claim:
    """A statement about the tests of an analysis.

    Attributes:
        name: short name, which no other claim of the file has.
        text: the claim in a sentence.
        analysis: one of :data:`xling.analysis.schema.ANALYSES`.
        predictors: kinds of distance, or ``("impact",)``.
        layers: numbers of encoder blocks from 1 on; None: every block that was measured, or an analysis without layers.
        holds_for: whether ``every`` one of these tests must bear the claim out, or ``any`` of them.
        direction: claimed sign of the main coefficient, ``positive``, ``negative`` or ``either``.
        strength: smallest absolute value of the main coefficient that would bear the claim out, above 0 and below 1.
        source: paper or person that makes the claim.
    """

    name: str
    text: str
    analysis: str
    predictors: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    holds_for: str = "every"
    direction: str = "either"
    strength: float = 0.2
    source: str = ""

    @classmethod
    def from_plain(cls, plain: Any) -> "Claim":
        """Make a claim from an entry of a claims file, a mapping with the attributes of a claim as keys.

        Raises:
            XlingValueError: the entry is no mapping, a key is unknown or missing, or a value is none of those allowed.
        """
        if not isinstance(plain, Mapping):
            raise XlingValueError(
                f"expected a claim as a mapping with name, text, analysis, predictors, found {plain!r}"
            )
        known = [item.name for item in fields(cls)]
        for key in plain:
            check_known("key of a claim", key, known)
        for key in ("name", "text", "analysis", "predictors"):
            if not plain.get(key):
                raise XlingValueError(f"expected a claim with the key {key!r}, found {dict(plain)}")
        layers = plain.get("layers")
        return cls(
            **dict(plain)
            | {
                "predictors": _listed(plain, "predictors", str),
                "layers": None if layers in (None, "all") else _listed(plain, "layers", int),
                "analysis": _choice(plain, "analysis", ANALYSES),
                "holds_for": _choice(plain, "holds_for", HOLDS_FOR),
                "direction": _choice(plain, "direction", DIRECTIONS),
                "strength": _strength(plain),
            }
        )

    def covers(self, tests: pd.DataFrame) -> pd.DataFrame:
        """Give the rows of ``correlations`` that the claim speaks of; the mean over layers does not count as a layer."""
        chosen = tests[(tests["analysis"] == self.analysis) & tests["predictor"].isin(self.predictors)]
        if self.analysis == TRANSFER_VS_DISTANCE:
            return chosen
        layers = chosen["layer"].astype("Int64")
        return chosen[(layers >= 1).fillna(False) if self.layers is None else layers.isin(self.layers)]

    def is_borne_out_by(self, tests: pd.DataFrame) -> pd.Series:
        """Say which tests bear the claim out, as booleans, one per row of `tests`."""
        significant = tests["p_max_t"] <= LEVEL
        if self.direction == "either":
            return significant
        return significant & ((tests["r"] > 0) if self.direction == "positive" else (tests["r"] < 0))

    def is_ruled_out_by(self, tests: pd.DataFrame) -> pd.Series:
        """Say which tests exclude every coefficient that would bear the claim out, as booleans, one per row of `tests`."""
        below, above = tests["ci_high"] < self.strength, tests["ci_low"] > -self.strength
        return {"positive": below, "negative": above, "either": below & above}[self.direction]


def _listed(plain: Mapping[str, Any], key: str, kind: type) -> tuple:
    values = plain[key] if isinstance(plain[key], list | tuple) else [plain[key]]
    if not values or not all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
        raise XlingValueError(
            f"expected {key} of the claim {plain['name']!r} as a list of {kind.__name__}, found {plain[key]!r}"
        )
    return tuple(values)


def _choice(plain: Mapping[str, Any], key: str, allowed: Sequence[str]) -> str:
    value = plain.get(key, Claim.__dataclass_fields__[key].default)
    check_known(f"{key} of the claim {plain['name']!r}:", value, allowed)
    return value


def _strength(plain: Mapping[str, Any]) -> float:
    value = plain.get("strength", Claim.strength)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise XlingValueError(f"expected strength of the claim {plain['name']!r} between 0 and 1, found {value!r}")
    return float(value)


def read_claims(name: str | Path) -> tuple[Claim, ...]:
    """Read claims that ship with the package, or a user's file.

    Args:
        name: name of claims that ship with the package, e.g. ``paper``, or the path of a YAML file that holds a list of claims
            with the attributes of :class:`Claim` as keys.

    Raises:
        MissingFileError: no such claims ship with the package, and there is no such file.
        XlingValueError: the file is no list of claims, a claim is wrong, or two claims have one name.
    """
    shipped = files("xling.conf") / "claims" / f"{name}.yaml"
    path = shipped if "/" not in str(name) and shipped.is_file() else Path(name)
    if not path.is_file():
        ours = sorted(entry.name.removesuffix(".yaml") for entry in (files("xling.conf") / "claims").iterdir())
        raise MissingFileError(
            f"expected claims at {name}, found no file; give a YAML file, or one of {', '.join(ours)}"
        )
    try:
        entries = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XlingValueError(f"{name} is no YAML file: {error}; correct it, see conf/claims/paper.yaml") from error
    if not isinstance(entries, list):
        raise XlingValueError(
            f"expected a list of claims in {name}, found {type(entries).__name__}; see conf/claims/paper.yaml"
        )
    claims = tuple(Claim.from_plain(entry) for entry in entries)
    names = [claim.name for claim in claims]
    if len(set(names)) < len(names):
        raise XlingValueError(f"expected claims of different names in {name}, found {', '.join(names)}; rename one")
    return claims


def judge_claims(claims: Sequence[Claim], tests: pd.DataFrame) -> pd.DataFrame:
    """Give each claim its verdict.

    Args:
        claims: the claims to judge.
        tests: ``correlations`` of the analysis.

    Returns:
        Columns of :data:`CLAIMS`.
    """
    return pd.DataFrame([_judge(claim, tests) for claim in claims], columns=list(CLAIMS))


def _judge(claim: Claim, all_tests: pd.DataFrame) -> dict[str, Any]:
    stated = {key: getattr(claim, key) for key in ("text", "source", "analysis", "direction", "strength", "holds_for")}
    covered = claim.covers(all_tests)
    tests = covered[covered["p_max_t"].notna()]
    row = {
        "claim": claim.name,
        **stated,
        "n_tests": len(tests),
        "n_bearing_out": 0,
        "n_ruling_out": 0,
        "decided_by": "",
    }
    reason = _why_not_tested(claim, covered, tests)
    if reason:
        return row | {"verdict": NOT_TESTED, "reason": reason}
    shown, excluded = claim.is_borne_out_by(tests), claim.is_ruled_out_by(tests)
    decisive = _decisive(claim, tests)
    return row | {
        "n_bearing_out": int(shown.sum()),
        "n_ruling_out": int(excluded.sum()),
        "verdict": _verdict(claim, shown, excluded),
        "decided_by": _name(decisive),
        **{key: decisive[key] for key in ("r", "ci_low", "ci_high")},
        "p_family_wise": decisive["p_max_t"],
        "detectable": decisive["detectable_family_wise"],
        "reason": "",
    }


def _why_not_tested(claim: Claim, covered: pd.DataFrame, tests: pd.DataFrame) -> str:
    missing = [name for name in claim.predictors if name not in set(covered["predictor"])]
    if covered.empty or missing:
        return f"this analysis holds no test of {', '.join(missing or claim.predictors)} at the claimed layers"
    if tests.empty or (claim.holds_for == "every" and len(tests) < len(covered)):
        untested = covered[covered["p_max_t"].isna()].iloc[0]
        return f"{_name(untested)} has no test: {untested['reason'] or 'no p-value'}"
    if claim.layers is not None and claim.holds_for == "every":
        absent = sorted(set(claim.layers) - set(covered["layer"].astype(int)))
        return f"this analysis holds no layer {', '.join(map(str, absent))}" if absent else ""
    return ""


def _verdict(claim: Claim, shown: pd.Series, excluded: pd.Series) -> str:
    supported, contradicted = (
        (shown.all(), excluded.any()) if claim.holds_for == "every" else (shown.any(), excluded.all())
    )
    if supported:
        return SUPPORTED
    return CONTRADICTED if contradicted else NOT_SHOWN


def _decisive(claim: Claim, tests: pd.DataFrame) -> pd.Series:
    """Choose the test that decides: the weakest in the claimed direction where every test must hold, else the strongest."""
    sign = {"positive": 1.0, "negative": -1.0}.get(claim.direction)
    size = tests["r"].abs() if sign is None else sign * tests["r"]
    order = np.lexsort((size, -tests["p_max_t"].where(size > 0, 1.0)))  # from the least significant to the most
    return tests.iloc[order[0] if claim.holds_for == "every" else order[-1]]


def _name(test: pd.Series) -> str:
    return test["predictor"] if pd.isna(test["layer"]) else f"{test['predictor']}, layer {int(test['layer'])}"
