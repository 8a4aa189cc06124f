"""Names measures of similarity as the page does."""

from xling.runs.measures import split_pooling

NAMES = {
    "cka_grouped": "CKA, debiased over groups",
    "cka_debiased": "CKA, debiased over rows",
    "cka_biased": "CKA, biased (the paper's)",
    "anc": "average neuron correlation",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "mean_cca": "mean CCA",
    "procrustes": "Procrustes",
    "rbf_cka": "CKA with RBF kernels",
    "rsa": "RSA",
    "mutual_knn": "mutual nearest neighbours",
}
"""Measure -> its name on the page; measures of other packages keep their own name."""


def name_measure(name: str) -> str:
    """Call a measure what the page calls it, with its pooling where that is not the run's main one.

    >>> name_measure("rsa@cls"), name_measure("of_another_package")
    ('RSA, cls', 'of_another_package')
    """
    measure, pooling = split_pooling(name)
    return ", ".join([NAMES.get(measure, measure), *([pooling] if pooling else [])])
