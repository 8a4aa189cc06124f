"""Finds named entities in BIO, BIOES or BILOU tags, and scores the finding of them by F1."""

from collections.abc import Sequence

Entity = tuple[str, int, int]
"""Type of the entity, index of its first word, index of the word after its last."""


_STANDS_FOR = {"L": "E", "U": "S"}
"""BILOU's marks for the last word of an entity and for its only word -> the marks of BIOES for the same."""

MARKS = "BIESLU"
"""Letters with which a tag may begin, before a hyphen and the type; the tag ``O`` is of a word outside every entity. BIO, BIOES
(also called IOBES) and BILOU are understood."""


def is_entity_tag(tag: str) -> bool:
    """Whether a tag is O or a mark, a hyphen and a type.

    >>> [is_entity_tag(tag) for tag in ("O", "B-PER", "S-LOC", "NOUN", "B-")]
    [True, True, True, False, False]
    """
    return tag == "O" or (len(tag) > 2 and tag[0] in MARKS and tag[1] == "-")


def entities(tags: Sequence[str]) -> set[Entity]:
    """Find the entities in one sentence's tags, as CoNLL's script does.

    I-X begins an entity unless it follows B-X or I-X. E-X ends an entity, and S-X is one by itself. E-X without a beginning is an
    entity of one word, as in seqeval (default mode).

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]))
    [('LOC', 3, 4), ('LOC', 4, 5), ('PER', 0, 2)]
    >>> sorted(entities(["B-PER", "E-PER", "S-PER", "O", "E-LOC"]))
    [('LOC', 4, 5), ('PER', 0, 2), ('PER', 2, 3)]
    """
    found: set[Entity] = set()
    kind, start = "", 0
    for index, tag in enumerate([*tags, "O"]):
        mark, _, new = tag.partition("-")
        mark = _STANDS_FOR.get(mark, mark)
        if kind and (mark not in ("I", "E") or new != kind):
            found.add((kind, start, index))
            kind = ""
        if mark in ("B", "I", "E", "S") and not kind:
            kind, start = new, index
        if mark in ("E", "S") and kind:
            found.add((kind, start, index + 1))
            kind = ""
    return found


def entity_f1(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro-averaged F1 over entities: type and both ends must agree (Tjong Kim Sang and De Meulder 2003).

    Args:
        true: the correct tags of each sentence.
        predicted: the predicted tags of each sentence, as many as there are correct ones.

    Returns:
        F1, 0..1; 0 where there is no entity at all.
    """
    pairs = [(entities(t), entities(p)) for t, p in zip(true, predicted, strict=True)]
    n_correct = sum(len(t & p) for t, p in pairs)
    n_found = sum(len(t) + len(p) for t, p in pairs)
    return 2 * n_correct / n_found if n_found else 0.0
