"""Defines the meanings in the embedded data set ``mini_nli``, which are independent of any language.

A premise tells two of three things about a person (an activity, a place, an origin); a hypothesis tells one or two.
Each of the three is a taxonomy of depth two, and a person has one value of each at a time, so the label follows from
the meanings alone. A row of :data:`PATTERNS` gives a premise and its three hypotheses. Over the six assignments of the
three things to its letters, the hypotheses of every label have the same form equally often, and their values are
uniform: the hypothesis alone says nothing about the label.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from xling.errors import XlingValueError, check_known
from xling.storage.hashing import sha256

LABELS = ("entailment", "neutral", "contradiction")
SPLITS = ("train", "probe")
N_VARIANTS = 2

# fmt: off
SUBJECTS = (
    "doctor", "farmer", "baker", "gardener", "driver", "fisherman", "grandfather", "boy",
    "soldier", "policeman", "engineer", "painter", "nurse", "teacher", "student", "grandmother",
    "girl", "singer", "actress", "writer", "dancer", "secretary", "journalist", "photographer",
)
# fmt: on

TAXONOMY = {
    "activity": {
        "eat_fruit": ("eat_apple", "eat_banana", "eat_orange", "eat_pear"),
        "drink": ("drink_tea", "drink_coffee", "drink_water", "drink_milk"),
        "read": ("read_newspaper", "read_novel", "read_magazine", "read_recipe"),
        "write": ("write_letter", "write_report", "write_postcard", "write_poem"),
        "play_instrument": ("play_guitar", "play_violin", "play_flute", "play_drum"),
        "play_game": ("play_chess", "play_cards", "play_dominoes", "play_computer_game"),
        "draw_animal": ("draw_horse", "draw_cat", "draw_dog", "draw_cow"),
        "search": ("search_key", "search_wallet", "search_phone", "search_umbrella"),
    },
    "place": {
        "house": ("kitchen", "bedroom", "living_room", "bathroom"),
        "outdoors": ("park", "forest", "beach", "field"),
        "shop": ("bakery", "bookshop", "shoe_shop", "flower_shop"),
        "journey": ("train", "bus", "ship", "plane"),
    },
    "origin": {
        "europe": ("paris", "rome", "berlin", "madrid"),
        "asia": ("tokyo", "beijing", "delhi", "bangkok"),
        "africa": ("cairo", "nairobi", "lagos", "dakar"),
        "south_america": ("lima", "bogota", "quito", "caracas"),
    },
}
"""Slot -> general value -> its specific values. Every general value has equally many, so that all values are equally frequent."""

SLOTS = tuple(TAXONOMY)
GENERAL = {slot: tuple(tree) for slot, tree in TAXONOMY.items()}
SPECIFIC = {slot: tuple(itertools.chain(*tree.values())) for slot, tree in TAXONOMY.items()}
PARENT = {child: parent for tree in TAXONOMY.values() for parent, children in tree.items() for child in children}

PATTERNS = (
    *[("XY", "X", "Z", "Y'")] * 3,
    *[("XY", "x", "z", "y'")] * 2,
    ("XY", "xY", "xZ", "x'Y'"),
    ("xY", "Y", "X", "X'"),
    ("XY", "x", "@x", "x'"),
    ("XY", "!X'", "!Z", "!Y"),
)
"""Rows (premise, entailed, neutral, contradicted). A letter is a slot, X and Y those the premise tells, Z the third;
capital: a specific value, small: a general one. In a hypothesis ``X`` is compatible with the premise (the same value,
its general one, or one of its specific ones), ``X'`` excludes it; ``!`` negates, ``@`` speaks of somebody else."""

ORDERS = tuple(itertools.permutations(SLOTS))


@dataclass(frozen=True)
class Meaning:
    """The meaning of one sentence: a subject and a value for each slot.

    Attributes:
        subject: one of `SUBJECTS`.
        values: slot -> value, specific or general, in the order of `SLOTS`.
        is_negated: the sentence denies its value.
        variant: which of a language's wordings is used, 0 or 1.
    """

    subject: str
    values: tuple[tuple[str, str], ...]
    is_negated: bool = False
    variant: int = 0


def split_of(subject: str, values: tuple[tuple[str, str], ...]) -> str:
    """Find the split that a premise belongs to: a fixed quarter of all meanings is for the probe.

    >>> split_of("nurse", (("activity", "read_novel"), ("place", "train")))
    'train'
    """
    key = "/".join([subject, *(value for _, value in values)])
    return SPLITS[int(sha256(key)[:2], 16) % 4 == 0]


@lru_cache(maxsize=64)
def _premises(form: tuple[tuple[str, bool], ...]) -> dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]]:
    """Map each split to all (subject, values) of one form; a form is (slot, is specific) in the order of `SLOTS`."""
    choices = [[(slot, value) for value in (SPECIFIC if specific else GENERAL)[slot]] for slot, specific in form]
    found: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]] = {split: [] for split in SPLITS}
    for subject, values in itertools.product(SUBJECTS, itertools.product(*choices)):
        found[split_of(subject, values)].append((subject, values))
    return found


def _premise_form(pattern: tuple[str, ...], order: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    slots = {order["xyz".index(letter.lower())]: letter.isupper() for letter in pattern[0]}
    return tuple((slot, slots[slot]) for slot in SLOTS if slot in slots)


def _value(rng: random.Random, slot: str, specific: bool, told: str | None, excludes: bool) -> str:
    """Choose the value of a hypothesis at a level, compatible with the premise's value `told` or excluding it."""
    candidates: Sequence[str] = (SPECIFIC if specific else GENERAL)[slot]
    if told is not None:
        candidates = [value for value in candidates if is_compatible(value, told) != excludes]
    return rng.choice(candidates)


def is_compatible(a: str, b: str) -> bool:
    """Whether two values of one slot can hold together: equal, or one the general value of the other.

    >>> is_compatible("europe", "paris"), is_compatible("rome", "paris")
    (True, False)
    """
    return a == b or PARENT.get(a) == b or PARENT.get(b) == a


def _hypothesis(rng: random.Random, text: str, order: tuple[str, ...], premise: Meaning) -> Meaning:
    told, values = dict(premise.values), {}
    for position, letter in enumerate(text):
        if letter.isalpha():
            slot = order["xyz".index(letter.lower())]
            excludes = text[position + 1 : position + 2] == "'"
            values[slot] = _value(rng, slot, letter.isupper(), told.get(slot), excludes)
    others = [subject for subject in SUBJECTS if subject != premise.subject]
    subject = rng.choice(others) if "@" in text else premise.subject
    ordered = tuple((slot, values[slot]) for slot in SLOTS if slot in values)
    variant = rng.randrange(N_VARIANTS)
    if len(ordered) > 1 and "origin" in values:
        variant = 1  # "is from Rome and ...": "the nurse from Rome ..." would be another nurse than the one from Paris
    return Meaning(subject, ordered, "!" in text, variant)


def _rows(rng: random.Random) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield (pattern, order) for ever, in shuffled blocks of all of them: every block is balanced."""
    block = list(itertools.product(PATTERNS, ORDERS))
    while True:
        yield from rng.sample(block, len(block))


@lru_cache(maxsize=2)  # every language of a run puts the same meanings into words: those of training and of the probe
def draw_meanings(n_premises: int, *, split: str, seed: int = 0) -> tuple[tuple[Meaning, str, Meaning], ...]:
    """Draw premises with one hypothesis for each label, in shuffled order; the last two draws are remembered.

    Args:
        n_premises: number of premises, >= 1; each occurs once.
        split: "train" or "probe"; no premise is in both.
        seed: seed of the draw. A longer draw of the same seed starts with the shorter one.

    Returns:
        3 * n_premises rows (premise, label, hypothesis).

    Raises:
        XlingValueError: the split is unknown, or the grammar has fewer premises than are asked for.
    """
    check_known("mini_nli split", split, SPLITS)
    if n_premises < 1:
        raise XlingValueError(f"n_premises must be at least 1, not {n_premises}")
    rng, pools, rows = random.Random(f"{split}/{seed}"), {}, []
    for number, (pattern, order) in enumerate(itertools.islice(_rows(rng), n_premises)):
        form = _premise_form(pattern, order)
        if form not in pools:
            premises = _premises(form)[split]
            pools[form] = random.Random(f"{split}/{seed}/{form}").sample(premises, len(premises))
        if not pools[form]:
            raise XlingValueError(
                f"mini_nli has {number:,} different premises in split {split!r} with seed {seed}, "
                f"fewer than the {n_premises:,} asked for; ask for at most {number:,}"
            )
        subject, values = pools[form].pop()
        premise = Meaning(subject, values, variant=rng.randrange(N_VARIANTS))
        triple = [
            (premise, label, _hypothesis(rng, text, order, premise))
            for label, text in zip(LABELS, pattern[1:], strict=True)
        ]
        rows += rng.sample(triple, 3)
    return tuple(rows)
