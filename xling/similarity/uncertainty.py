"""How far one CKA can be trusted: delete-group jackknife, influence of single groups, and a shuffled-pairing null.

All of it works on the rows of one layer and one language. An impact is 1 - CKA: it has the same standard error, the
interval turned round, and influences of opposite sign.
"""

from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

from xling.errors import XlingValueError
from xling.similarity.centred import MINIMUM
from xling.similarity.hsic import HsicTerms, cka, hsic
from xling.similarity.precision import similarity_precision
from xling.similarity.recentre import dot, moved_sq_xy
from xling.similarity.rows import centred_rows, pair_terms


@dataclass(frozen=True)
class Jackknife:
    """A CKA with what its sampling of groups says about it.

    Attributes:
        value: CKA over all rows, scalar float64.
        standard_error: delete-group jackknife, scalar float64.
        interval: (low, high) of Student's t with n_groups - 1 degrees of freedom around `value`.
        groups: the group ids, ascending, ``[n_groups]``.
        influence: `value` minus CKA without that group, ``[n_groups]`` float64.
    """

    value: Tensor
    standard_error: Tensor
    interval: tuple[float, float]
    groups: Tensor
    influence: Tensor

    def most_influential(self, k: int = 10) -> list[tuple[int, float]]:
        """The k groups (id, influence) whose absence changes the value most, strongest first."""
        order = self.influence.abs().argsort(descending=True, stable=True)[:k]
        return list(zip(self.groups[order].tolist(), self.influence[order].tolist(), strict=True))


@dataclass(frozen=True)
class ShuffledNull:
    """CKA under random pairings of the rows: what no correspondence at all would give.

    Attributes:
        value: CKA of the true pairing.
        mean: expectation over all pairings, exact where single rows are shuffled: 0 for debiased CKA.
        quantile: the requested quantile over the drawn pairings.
        draws: CKA of each drawn pairing, ``[n_permutations]`` float64.
        p_value: share of pairings at least as similar as the true one, which counts as one of them.
    """

    value: Tensor
    mean: Tensor
    quantile: Tensor
    draws: Tensor
    p_value: float


def jackknife_cka(x: Tensor, y: Tensor, groups: Tensor, *, debiased: bool, level: float = 0.95) -> Jackknife:
    """Delete-group jackknife of linear CKA; exact, at about the cost of computing CKA twice.

    Deleting a group is a low-rank change of ``Y'X``; its Frobenius norm follows from the products ``y_i' (Y'X) x_i`` of
    the deleted rows, so no group needs moments of its own. Groups of different sizes are weighted as in Busing 1999.

    Args:
        x: base rows ``[n, d_x]``.
        y: other rows ``[n, d_y]``, same examples.
        groups: integer id per row ``[n]``; rows that share one are deleted together (three XNLI pairs, one premise).
        debiased: which estimator of HSIC.
        level: coverage of the interval.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows.
        XlingValueError: not one id per row, fewer than 2 groups, or a group that leaves fewer than 4 rows.

    References:
        Busing, Meijer & van der Leeden 1999, Statistics and Computing 9.
    """
    check_groups(groups, len(x), len(y))
    ids, which, sizes = groups.unique(return_inverse=True, return_counts=True)
    with similarity_precision(x.device.type):
        x, y = centred_rows(x.double(), "x"), centred_rows(y.double(), "y")
        pairs = ((x, x), (y, y), (x, y))
        value = cka(*(pair_terms(*pair) for pair in pairs), debiased=debiased)
        xx, yy, xy = (hsic(_without_each_group(*pair, which, sizes), debiased=debiased) for pair in pairs)
    deleted = xy / (xx.sqrt() * yy.sqrt())
    error = _standard_error(value, deleted, sizes.double() / len(x))
    reach = float(student.ppf((1 + level) / 2, len(ids) - 1) * error)
    return Jackknife(value, error, (float(value) - reach, float(value) + reach), ids, value - deleted)


def shuffled_null(
    x: Tensor,
    y: Tensor,
    *,
    debiased: bool,
    n_permutations: int = 100,
    quantile: float = 0.95,
    groups: Tensor | None = None,
    seed: int = 0,
) -> ShuffledNull:
    """CKA between x and y in random order: what the estimator gives without any correspondence of rows.

    Over all pairings the biased HSIC has mean ``tr(K) tr(L) / (n - 1)`` and the unbiased one 0. Each draw costs one
    product Y'X; the self-terms do not change.

    Args:
        x: base rows ``[n, d_x]``.
        y: other rows ``[n, d_y]``.
        debiased: which estimator of HSIC.
        n_permutations: pairings drawn.
        quantile: which quantile of them to report.
        groups: ids ``[n]``; if given, whole groups change places with groups of the same size, their rows in order.
        seed: of a generator of its own.

    Raises:
        UndefinedSimilarityError: CKA is undefined on these rows.
        XlingValueError: not one group id per row, or no permutations.
    """
    groups = torch.arange(len(x)) if groups is None else groups
    check_groups(groups, len(x), len(y))
    if n_permutations < 1:
        raise XlingValueError(f"at least one permutation is needed, got {n_permutations}; 100 give a usable quantile")
    generator = torch.Generator().manual_seed(seed)
    with similarity_precision(x.device.type):
        x, y = centred_rows(x, "x"), centred_rows(y, "y")
        xx, yy, xy = pair_terms(x, x), pair_terms(y, y), pair_terms(x, y)
        orders = (_shuffle_groups(groups.cpu(), generator).to(y.device) for _ in range(n_permutations))
        draws = torch.stack([cka(xx, yy, pair_terms(x, y[order]), debiased=debiased) for order in orders])
    value = cka(xx, yy, xy, debiased=debiased)
    mean = torch.zeros_like(value) if debiased else xx.sq_x * yy.sq_x / (len(x) - 1) / (xx.cross * yy.cross).sqrt()
    p_value = (1 + int((draws >= value).sum())) / (1 + n_permutations)
    return ShuffledNull(value, mean, draws.quantile(quantile), draws, p_value)


def check_groups(groups: Tensor, n_x: int, n_y: int) -> None:
    """Refuse group ids that do not fit the rows.

    Raises:
        XlingValueError: not one id per row, fewer than 2 groups, or a group that leaves fewer than 4 rows.
    """
    if not groups.shape == (n_x,) == (n_y,):
        raise XlingValueError(
            f"each pair of rows needs a group id; got ids {tuple(groups.shape)} for {n_x} and {n_y} rows"
        )
    sizes = groups.unique(return_counts=True)[1]
    if len(sizes) < 2 or n_x - int(sizes.max()) < MINIMUM:
        raise XlingValueError(
            f"{len(sizes)} groups over {n_x} rows, the largest of {int(sizes.max())}: at least 2 groups are needed "
            f"and {MINIMUM} rows must be left without any of them"
        )


def _without_each_group(x: Tensor, y: Tensor, which: Tensor, sizes: Tensor) -> HsicTerms:
    """HSIC terms between centred rows after deleting each group: every attribute is ``[n_groups]``."""
    product, terms = y.mT @ x, pair_terms(x, y)
    names = ("cross", "sq_x", "sq_y", "sq_xy")
    found = {name: torch.empty(len(sizes), dtype=torch.float64, device=x.device) for name in names}
    by_group = which.argsort(stable=True).split(sizes.tolist())
    for size in sizes.unique().tolist():
        of_size = (sizes == size).nonzero().flatten()
        rows = torch.stack([by_group[group] for group in of_size.tolist()])
        for name, values in zip(names, _without(rows, x, y, product, terms), strict=True):
            found[name][of_size] = values
    return HsicTerms(len(x) - sizes.double(), **found)


def _without(rows: Tensor, x: Tensor, y: Tensor, product: Tensor, terms: HsicTerms) -> tuple[Tensor, ...]:
    """Terms without each group of the same size, row indices ``[g, size]``.

    The rows that stay, m of them, have mean ``-u`` and ``-v`` with ``u = sum of the deleted x / m``; centred again,
    ``Y'X`` becomes ``Y'X - Z`` with ``Z = sum over deleted y_i x_i' + m v u'``, and ``|Y'X - Z|^2`` is multiplied out.
    """
    m, gone_x, gone_y = terms.n - rows.shape[1], x[rows], y[rows]
    u, v = gone_x.sum(1) / m, gone_y.sum(1) / m
    rows_c = gone_y @ product  # y_i' Y'X
    v_c_u = dot(rows_c.sum(1) / m, u)
    on_mean = ((gone_x @ u[..., None]) * (gone_y @ v[..., None])).sum((1, 2))
    inner = dot(rows_c, gone_x).sum(1) + m * v_c_u
    z_sq = ((gone_x @ gone_x.mT) * (gone_y @ gone_y.mT)).sum((1, 2))
    z_sq += 2 * m * on_mean + m**2 * dot(u, u) * dot(v, v)
    a, b = gone_x.square().sum(-1), gone_y.square().sum(-1)
    left_x, left_y, left_xy = terms.sq_x - a.sum(1), terms.sq_y - b.sum(1), terms.sq_xy - (a * b).sum(1)
    all_a, all_b = x.square().sum(-1), y.square().sum(-1)
    y_sq_x = all_b @ x - (b.unsqueeze(1) @ gone_x).squeeze(1)
    x_sq_y = all_a @ y - (a.unsqueeze(1) @ gone_y).squeeze(1)
    sums_x, sums_y = (-u, -m * u, left_x, y_sq_x), (-v, -m * v, left_y, x_sq_y)
    sq_xy = moved_sq_xy(m, left_xy, v_c_u - on_mean, sums_x, sums_y)
    return terms.cross - 2 * inner + z_sq, left_x - m * dot(u, u), left_y - m * dot(v, v), sq_xy


def _standard_error(value: Tensor, deleted: Tensor, shares: Tensor) -> Tensor:
    """Delete-m_j jackknife (Busing 1999, eq. 10); with equal groups ``sqrt((g - 1) / g sum (deleted - mean)^2)``."""
    g, h = len(deleted), 1 / shares
    pseudo = h * value - (h - 1) * deleted
    estimate = g * value - ((1 - shares) * deleted).sum()
    return ((pseudo - estimate).square() / (h - 1)).mean().sqrt()


def _shuffle_groups(groups: Tensor, generator: torch.Generator) -> Tensor:
    """A new order of rows in which whole groups have changed places with groups of the same size."""
    _, which, sizes = groups.unique(return_inverse=True, return_counts=True)
    by_group = which.argsort(stable=True).split(sizes.tolist())
    order = torch.empty_like(which)
    for size in sizes.unique().tolist():
        rows = torch.stack([by_group[group] for group in (sizes == size).nonzero().flatten().tolist()])
        order[rows] = rows[torch.randperm(len(rows), generator=generator)]
    return order
