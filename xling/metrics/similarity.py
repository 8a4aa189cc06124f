"""Offers similarity of representations as torchmetrics metrics: CKA, and any measure of the registry."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from xling.errors import XlingValueError
from xling.metrics.grouped import GroupedMomentsMetric
from xling.metrics.moments import MomentsMetric
from xling.similarity.cka import cka_of_rows
from xling.similarity.grouped_moments import GroupedMarginal, GroupedMoments
from xling.similarity.marginal import Marginal
from xling.similarity.moments import Moments, check_layers, check_rows
from xling.similarity.registry import get_measure
from xling.similarity.result import Result
from xling.similarity.shapes import LayersX, LayersY, PerLayer


class SimilarityMetric(Metric):
    """Any measure of :data:`xling.similarity.MEASURES` between two representations of the same examples.

    ``update(x, y)`` takes rows ``[..., b, d]`` (leading dimensions: layers), ``compute()`` gives float64 ``[...]``, NaN
    where the similarity of a layer is undefined; `reason` says why. Measures of moments keep rows while they are few, and sums
    of constant size from then on (:class:`~xling.metrics.moments.MomentsMetric`); those that need the rows (``rbf_cka``,
    ``rsa``, ``mutual_knn``) keep the rows. ``cka_grouped`` takes ``update(x, y, groups)``, see :class:`CKA`. In a
    :class:`torchmetrics.MetricCollection` several measures of moments share one set of states.

    Args:
        measure: a name in ``MEASURES``, or a measure.
        kwargs: for measures of moments `base` and `allow_tf32`, see :class:`MomentsMetric`; for all measures the arguments of
            :class:`torchmetrics.Metric`.

    Attributes:
        reason: why each layer's similarity is NaN, after :meth:`compute`, one text per layer; empty where it is defined.

    Raises:
        XlingValueError: the measure is unknown.

    Example:
        >>> metric = SimilarityMetric("procrustes")
        >>> x = torch.eye(6)
        >>> metric.update(x[:3], 2 * x[:3])
        >>> metric.update(x[3:], 2 * x[3:])
        >>> round(float(metric.compute()), 6)
        1.0
    """

    higher_is_better = True

    def __new__(cls, measure: str = "cka_debiased", *args: Any, **kwargs: Any) -> "SimilarityMetric":
        """Make the subclass that keeps what `measure` needs (unpickling passes further positional arguments)."""
        if cls is SimilarityMetric:
            found = get_measure(measure)
            cls = (
                _RowsSimilarity
                if found.needs_rows
                else _GroupedSimilarity
                if found.knows_groups
                else _MomentsSimilarity
            )
        return super().__new__(cls)

    def __init__(self, measure: str = "cka_debiased", **kwargs: Any):
        super().__init__(**kwargs)
        self.measure = get_measure(measure).name
        self.reason = [""]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch of paired rows ``[..., b, d_x]`` and ``[..., b, d_y]`` (with group ids ``[b]`` for grouped measures)."""
        raise NotImplementedError  # here for type checkers, which do not see that __new__ chooses a subclass

    def compute(self) -> PerLayer:
        """Compute the similarity of every layer, float64 ``[...]``; NaN where undefined, see `reason`."""
        result = self._evaluate()
        self.reason = result.reason
        return result.value

    def explain(self) -> Result:
        """Compute the similarity of every layer together with the reason of each NaN."""
        return Result(self.compute(), self.reason)

    def _evaluate(self) -> Result:
        """Compute values and reasons from the states."""
        raise NotImplementedError  # here for type checkers, see `update`


class _MomentsSimilarity(MomentsMetric, SimilarityMetric):
    def __init__(
        self, measure: str = "cka_debiased", *, base: Marginal | None = None, allow_tf32: bool = False, **kwargs: Any
    ):
        super().__init__(base=base, allow_tf32=allow_tf32, measure=measure, **kwargs)

    def _evaluate(self) -> Result:
        rows = self.few_rows
        return _of_sums(self.measure, self.whole(), self.base) if rows is None else self._of_few(*rows)

    def _of_few(self, x: LayersX, y: LayersY) -> Result:
        return get_measure(self.measure).of_rows(x, y)


class _GroupedSimilarity(GroupedMomentsMetric, SimilarityMetric):
    def __init__(
        self,
        measure: str = "cka_grouped",
        *,
        base: GroupedMarginal | None = None,
        allow_tf32: bool = False,
        **kwargs: Any,
    ):
        super().__init__(base=base, allow_tf32=allow_tf32, measure=measure, **kwargs)

    def _evaluate(self) -> Result:
        return _of_sums(self.measure, self.whole(), self.base)


class CKA(SimilarityMetric):
    """Linear centred kernel alignment, streaming and exact: any split of the rows gives the value of all at once.

    With ``groups=True`` it is debiased over groups of rows that are not independent: ``update(x, y, groups)`` then takes an
    id per row ``[b]``, and the rows of a group must follow one another on one process, over as many batches as they like.

    Args:
        debiased: whether to take the unbiased HSIC (Song 2012) or the biased one.
        groups: whether to debias over groups of rows.
        base: ``Marginal.of(x)``, or with groups ``GroupedMarginal.of(x, groups)``, where it was computed before, so that X'X is
            not summed again.
        allow_tf32: whether a GPU may multiply in TF32.
        kwargs: further arguments of :class:`torchmetrics.Metric`.

    Raises:
        XlingValueError: groups are asked for with the biased estimator.

    References:
        Kornblith et al. 2019 (arXiv:1905.00414); Song et al. 2012 (JMLR 13).

    Example:
        >>> metric = CKA(debiased=True)
        >>> x = torch.randn(3, 50, 8)  # 3 layers, 50 examples, 8 features
        >>> metric.update(x[:, :30], x[:, :30])
        >>> metric.update(x[:, 30:], x[:, 30:])
        >>> metric.compute()
        tensor([1., 1., 1.], dtype=torch.float64)
    """

    def __new__(cls, debiased: bool = True, groups: bool = False, *args: Any, **kwargs: Any) -> "CKA":
        """Make the subclass that keeps what is needed (unpickling passes further positional arguments)."""
        if cls is CKA:
            cls = _GroupedCKA if groups else _RowwiseCKA
        return Metric.__new__(cls)


class _RowwiseCKA(CKA, _MomentsSimilarity):
    def __init__(self, debiased: bool = True, groups: bool = False, **kwargs: Any):
        _MomentsSimilarity.__init__(self, "cka_debiased" if debiased else "cka_biased", **kwargs)
        self.debiased = debiased

    def _of_few(self, x: LayersX, y: LayersY) -> Result:
        return cka_of_rows(x, y, debiased=self.debiased, allow_tf32=self.allow_tf32)


class _GroupedCKA(CKA, _GroupedSimilarity):
    def __init__(self, debiased: bool = True, groups: bool = True, **kwargs: Any):
        if not debiased:
            raise XlingValueError("the biased estimator knows no groups; expected debiased=True with groups=True")
        _GroupedSimilarity.__init__(self, "cka_grouped", **kwargs)
        self.debiased = debiased


class _RowsSimilarity(SimilarityMetric):
    """Keeps the rows themselves, with the axis of examples first, because torchmetrics concatenates states along that axis."""

    full_state_update = False
    is_differentiable = False

    x: list[Tensor]
    y: list[Tensor]

    def __init__(self, measure: str, **kwargs: Any):
        super().__init__(measure, **kwargs)
        self.add_state("x", [], dist_reduce_fx="cat")
        self.add_state("y", [], dist_reduce_fx="cat")

    def update(self, x: LayersX, y: LayersY) -> None:
        """Keep paired rows ``[..., b, d_x]`` and ``[..., b, d_y]``.

        Raises:
            XlingValueError: rows, layers or widths do not fit each other or what was kept before.
        """
        check_rows(x, y)
        for name, earlier, rows in (("x", self.x, x), ("y", self.y, y)):
            if earlier:
                check_layers(f"what {name} held before", earlier[0].shape[1:], rows.shape[:-2] + rows.shape[-1:])
        self.x.append(x.detach().movedim(-2, 0))
        self.y.append(y.detach().movedim(-2, 0))

    def _evaluate(self) -> Result:
        if not len(self.x):
            return _nothing()
        x, y = (dim_zero_cat(rows).movedim(0, -2) for rows in (self.x, self.y))
        return get_measure(self.measure).of_rows(x, y)


def _of_sums(measure: str, sums: Moments | GroupedMoments | None, base: Marginal | GroupedMarginal | None) -> Result:
    return _nothing() if sums is None else get_measure(measure).of_moments(sums, base)


def _nothing() -> Result:
    return Result(torch.tensor(float("nan"), dtype=torch.float64), ["no examples"])
