"""Plain float64 numpy versions of the measures, written from the papers, and the data they are compared on."""

import numpy as np
import torch


def gram_hsic(x, y, debiased):
    """Gretton 2005 (biased) and Song 2012 eq. 5 (unbiased), with n x n Gram matrices."""
    n = len(x)
    k, el = x @ x.T, y @ y.T
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ el @ h) / (n - 1) ** 2
    np.fill_diagonal(k, 0)
    np.fill_diagonal(el, 0)
    one = np.ones(n)
    middle = (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ el) + middle - 2 / (n - 2) * (one @ k @ el @ one)) / (n * (n - 3))


def cka(x, y, debiased):
    """Linear CKA of torch rows ``[n, d]``, from Gram matrices in float64, the mean taken off before."""
    x, y = (np.asarray(rows.double()) for rows in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    return gram_hsic(x, y, debiased) / np.sqrt(gram_hsic(x, x, debiased) * gram_hsic(y, y, debiased))


def layered_cka(x, y, debiased):
    """The same for ``[L, n, d]``."""
    return np.array([cka(one, other, debiased) for one, other in zip(x, y, strict=True)])


def related(n=120, d_x=9, d_y=None, layers=2, mean=0.0, noise=0.8, seed=0):
    """Two related float32 representations ``[layers, n, d]`` whose means are `mean` standard deviations per feature."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    d_y = d_x if d_y is None else d_y
    x = normal(layers, n, d_x) @ torch.diag(torch.linspace(0.5, 1.5, d_x))
    y = x @ (torch.eye(d_x, d_y) + 0.2 * normal(d_x, d_y)) + noise * normal(layers, n, d_y)
    return x + mean * normal(d_x).sign(), y + mean * normal(d_y).sign()
