"""Named entities in BIO tags, and the F1 of finding them."""

from collections.abc import Sequence

Entity = tuple[str, int, int]
"""Type, first word, word after the last."""


def entities(tags: Sequence[str]) -> set[Entity]:
    """Find the entities in one sentence's tags, as CoNLL's script does: I-X after another tag than B-X or I-X begins one.

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]))
    [('LOC', 3, 4), ('LOC', 4, 5), ('PER', 0, 2)]
    """
    found: set[Entity] = set()
    kind, start = "", 0
    for index, tag in enumerate([*tags, "O"]):
        mark, _, new = tag.partition("-")
        if kind and (mark != "I" or new != kind):
            found.add((kind, start, index))
            kind = ""
        if mark in ("B", "I") and not kind:
            kind, start = new, index
    return found


def entity_f1(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro-averaged F1 over entities: type and both ends must agree (Tjong Kim Sang and De Meulder 2003).

    Args:
        true: tags per sentence.
        predicted: tags per sentence, of the same lengths.

    Returns:
        0..1; 0 where there is no entity at all.
    """
    pairs = [(entities(t), entities(p)) for t, p in zip(true, predicted, strict=True)]
    n_correct = sum(len(t & p) for t, p in pairs)
    n_found = sum(len(t) + len(p) for t, p in pairs)
    return 2 * n_correct / n_found if n_found else 0.0
