"""Linear discriminant analysis against a plain implementation, and what it must and must not read."""

import numpy as np
import pytest
import torch

from xling.errors import XlingValueError
from xling.probing.discriminant import deal_groups, held_out_predictions, shrunk


def make_rows(n: int = 120, d: int = 8, shift: float = 1.5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    centres = torch.randn(3, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) + shift * centres[labels], labels


def ledoit_wolf(z: np.ndarray) -> np.ndarray:
    """Ledoit & Wolf (2004), lemma 3.2 to 3.4, term by term."""
    n, d = z.shape
    s = z.T @ z / n
    m = np.trace(s) / d
    d2 = ((s - m * np.eye(d)) ** 2).sum() / d
    b2 = min(d2, sum(((np.outer(row, row) - s) ** 2).sum() / d for row in z) / n**2)
    return b2 / d2 * m * np.eye(d) + (d2 - b2) / d2 * s


def plain_predictions(x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    predicted = np.empty_like(y)
    for fold in np.unique(folds):
        train, own = x[folds != fold], y[folds != fold]
        means = np.stack([train[own == c].mean(0) for c in np.unique(y)])
        inverse = np.linalg.inv(ledoit_wolf(train - means[own]))
        for i in np.flatnonzero(folds == fold):
            scores = [x[i] @ inverse @ m - m @ inverse @ m / 2 + np.log((own == c).mean()) for c, m in enumerate(means)]
            predicted[i] = int(np.argmax(scores))
    return predicted


@pytest.mark.parametrize("d", [3, 40, 200])
def test_predictions_are_those_of_the_formulas_written_out(d):
    rows, labels = make_rows(90, d, 0.4)
    folds = deal_groups(torch.arange(90) // 3)
    found = held_out_predictions(rows, labels, folds)
    assert (found.numpy() == plain_predictions(rows.numpy(), labels.numpy(), folds.numpy())).all()


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_features_that_say_nothing_new_change_no_prediction(constant):
    """A covariance without Cholesky's factors, or nearly so, as with more rows than it takes and a feature twice."""
    rows, labels = make_rows(300, 4)
    folds = deal_groups(torch.arange(300))
    doubled = torch.cat([rows, rows[:, :1] * constant], 1).float()
    plain = held_out_predictions(rows, labels, folds)
    assert (held_out_predictions(doubled, labels, folds) == plain).double().mean() > 0.97


def test_a_covariance_is_shrunk_as_ledoit_and_wolf_say():
    rows = make_rows(30, 20)[0]
    centred = rows - rows.mean(0)
    found = shrunk(centred.mT @ centred / 30, centred.square().sum(1).square().sum(), 30)
    assert np.allclose(found.numpy(), ledoit_wolf(centred.numpy()), atol=1e-12)


def test_rows_of_one_group_share_a_fold():
    groups = torch.tensor([5, 1, 5, 1, 9, 9, 2, 2])
    folds = deal_groups(groups, 3)
    assert all(len(folds[groups == group].unique()) == 1 for group in groups.unique())
    assert sorted(folds.unique().tolist()) == [0, 1, 2]


def test_what_is_no_linear_matter_of_the_rows_is_not_read():
    rows, _ = make_rows(300, 6, 0.0)
    labels = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(1))
    accuracy = (held_out_predictions(rows, labels, deal_groups(torch.arange(300))) == labels).double().mean()
    assert 0.22 < accuracy < 0.45  # 1/3, four standard errors


def test_a_label_that_the_group_gives_away_is_not_read_from_other_groups():
    """Rows of a group are alike and share a label by chance: rows dealt one by one would look readable."""
    generator = torch.Generator().manual_seed(2)
    groups = torch.arange(200).repeat_interleave(3)
    centres, labels = torch.randn(200, 20, generator=generator), torch.randint(0, 2, (200,), generator=generator)
    rows, labels = centres[groups] + 0.01 * torch.randn(600, 20, generator=generator), labels[groups]
    accuracy = (held_out_predictions(rows, labels, deal_groups(groups)) == labels).double().mean()
    assert accuracy < 0.62


@pytest.mark.parametrize("change", [lambda x: 3 * x, lambda x: x + 5, lambda x: x.flip(1)])
def test_scale_origin_and_order_of_features_do_not_matter(change):
    rows, labels = make_rows()
    folds = deal_groups(torch.arange(len(rows)))
    assert torch.equal(held_out_predictions(change(rows), labels, folds), held_out_predictions(rows, labels, folds))


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ([0, 0, 0, 0], [0, 1, 0, 1], "two folds and two classes, got 2 and 1"),
        ([0, 1, 0, 1], [0, 0, 0, 0], "two folds and two classes, got 1 and 2"),
    ],
)
def test_too_few_folds_or_classes_are_refused(labels, folds, message):
    with pytest.raises(XlingValueError, match=message):
        held_out_predictions(torch.randn(4, 2), torch.tensor(labels), torch.tensor(folds))


def test_a_label_that_one_fold_alone_has_is_not_recognised_and_spoils_no_other():
    """Rare tags of words are such: they cost their own rows, not the reading of all others."""
    rows, labels = make_rows(shift=6.0)
    folds = deal_groups(torch.arange(len(rows)))
    rare = labels.clone()
    rare[folds == 2] = torch.where(torch.arange(int((folds == 2).sum())) < 2, 9, labels[folds == 2])
    found = held_out_predictions(rows, rare, folds)
    assert not (found == 9).any()
    assert ((found == rare) | (rare == 9)).double().mean() > 0.95


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200])
def test_rows_that_are_not_finite_are_refused(value):
    rows, labels = make_rows()
    rows[3, 1] = value
    with pytest.raises(XlingValueError, match="not finite"):
        held_out_predictions(rows, labels, deal_groups(torch.arange(len(rows))))


@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_without_spread_within_classes_go_to_the_nearest_mean(width, dtype):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, width, generator=generator, dtype=dtype)  # two premises with one row of each of three classes
    labels, folds = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1])
    found = held_out_predictions(rows.clone(), labels, folds)
    distances = torch.cdist(rows, rows)
    for row, predicted in enumerate(found.tolist()):
        candidates = range(3, 6) if row < 3 else range(3)
        assert labels[min(candidates, key=lambda k: float(distances[row, k]))] == predicted


def test_rows_that_are_all_alike_are_given_the_most_frequent_label():
    rows, labels = torch.full((9, 4), 2.5), torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1])
    found = held_out_predictions(rows.clone(), labels, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2]))
    assert (found == 0).all()
