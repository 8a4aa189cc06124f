"""Parts of a spectrum against all of it."""

import pytest
import torch

from xling.similarity.spectrum import leading_eigenvectors, nuclear_norm


def matrix_of(values, m=60, k=40, seed=0):
    """An m x k matrix with these singular values."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(size, len(values), generator=generator, dtype=torch.float64)).Q for size in (m, k)
    )
    return left * torch.as_tensor(values, dtype=torch.float64) @ right.mT


SPECTRA = {
    "flat": torch.ones(40),
    "slow": 1 / torch.arange(1.0, 41),
    "steep": torch.logspace(0, -12, 40),
    "one direction": torch.tensor([1.0]),
    "a few": torch.tensor([1.0, 0.5, 1e-3]),
    "one far above": torch.cat([torch.tensor([1e6]), torch.ones(39)]),
    "all below one": torch.cat([torch.tensor([1.0]), torch.full((39,), 1e-9)]),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("turned", [False, True])
def test_the_nuclear_norm_is_the_sum_of_singular_values(name, turned):
    matrix = matrix_of(SPECTRA[name])
    found = nuclear_norm(matrix.mT if turned else matrix)
    assert float(found) == pytest.approx(float(SPECTRA[name].double().sum()), rel=1.1e-8)


def test_small_singular_values_are_not_taken_from_their_squares(monkeypatch):
    matrix, asked = matrix_of(SPECTRA["one direction"]), []
    plain = torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda given: asked.append(given) or plain(given))
    nuclear_norm(matrix)
    assert len(asked) == 1
    nuclear_norm(matrix_of(SPECTRA["slow"]))
    assert len(asked) == 1


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_eigenvectors_are_the_last_of_all(k, dtype):
    factor = matrix_of(SPECTRA["slow"], m=40)
    matrix = (factor @ factor.mT).to(dtype)
    found = leading_eigenvectors(matrix, k)
    expected = torch.linalg.eigh(matrix.double())[1][:, -k:].flip(-1)
    assert found.dtype == dtype
    overlap = (found.double().mT @ expected).abs()
    torch.testing.assert_close(overlap, torch.eye(k, dtype=torch.float64), atol=1e-5, rtol=0)


def test_more_eigenvectors_than_there_are_give_all():
    assert leading_eigenvectors(torch.eye(2), 3).shape == (2, 2)
