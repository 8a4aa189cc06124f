"""The embedded data set: its labels are right, no half of a pair betrays them, and a language is only a file."""

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from xling.data.mini_nli.forms import LANGUAGE_FOLDER
from xling.data.mini_nli.grammar import ORDERS, PATTERNS, SLOTS, SPECIFIC, TAXONOMY, draw_meanings
from xling.data.mini_nli.sentence_pairs import COLUMNS, LABELS, available_languages, generate, load_language
from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.errors import MissingFileError, XlingValueError

BLOCK = len(PATTERNS) * len(ORDERS)


@pytest.fixture
def english() -> dict:
    return yaml.safe_load((LANGUAGE_FOLDER / "en.yaml").read_text(encoding="utf-8"))


def write_language(folder: Path, content: dict | str, code: str = "xx") -> Path:
    text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (folder / f"{code}.yaml").write_text(text, encoding="utf-8")
    return folder


def worlds_where(meaning) -> set:
    """All (activity, place, origin) of the person spoken of that make a sentence true."""
    allowed = [SPECIFIC[slot] for slot in SLOTS]
    for slot, value in meaning.values:
        allowed[SLOTS.index(slot)] = TAXONOMY[slot].get(value, (value,))
    true = set(product(*allowed))
    return set(product(*SPECIFIC.values())) - true if meaning.is_negated else true


# --- meaning -------------------------------------------------------------------------------------------------------


def test_labels_follow_from_the_worlds_in_which_the_sentences_are_true():
    for premise, label, hypothesis in draw_meanings(BLOCK, split="train"):
        if hypothesis.subject != premise.subject:
            expected = "neutral"
        else:
            before, after = worlds_where(premise), worlds_where(hypothesis)
            expected = "entailment" if before <= after else "neutral" if before & after else "contradiction"
        assert label == expected, (premise, hypothesis)


def test_every_premise_has_each_label_once():
    rows = draw_meanings(200, split="train")
    triples = [rows[start : start + 3] for start in range(0, len(rows), 3)]
    assert all(len({premise for premise, _, _ in triple}) == 1 for triple in triples)
    assert all({label for _, label, _ in triple} == set(LABELS) for triple in triples)
    assert len({tuple(label for _, label, _ in triple) for triple in triples}) == 6  # all orders occur


def test_hypothesis_forms_are_equally_frequent_under_every_label():
    """Exact in every block: which slots a hypothesis tells, how specific, and its polarity."""
    counts = {label: Counter() for label in LABELS}
    for _, label, hypothesis in draw_meanings(2 * BLOCK, split="train"):
        form = tuple((slot, value in TAXONOMY[slot]) for slot, value in hypothesis.values)
        counts[label][form, hypothesis.is_negated] += 1
    assert counts["entailment"] == counts["neutral"] == counts["contradiction"]


@pytest.mark.parametrize("split", ["train", "probe"])
def test_hypothesis_values_do_not_depend_on_the_label(split):
    rows = draw_meanings(60 * BLOCK, split=split)
    for read in (
        lambda hypothesis: [value for _, value in hypothesis.values],
        lambda hypothesis: [hypothesis.subject],
        lambda hypothesis: [hypothesis.variant],
    ):
        names = sorted({name for _, _, hypothesis in rows for name in read(hypothesis)}, key=str)
        table = np.zeros((len(names), 3))
        for _, label, hypothesis in rows:
            for name in read(hypothesis):
                table[names.index(name), LABELS.index(label)] += 1
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        chi2, dof = ((table - expected) ** 2 / expected).sum(), (len(names) - 1) * 2
        assert chi2 < dof + 4 * (2 * dof) ** 0.5, (names, table)  # four standard deviations above its mean


def test_training_and_probe_share_no_premise():
    train, probe = (
        {(premise.subject, premise.values) for premise, _, _ in draw_meanings(3000, split=split, seed=seed)}
        for split, seed in (("train", 0), ("probe", 1))
    )
    assert not train & probe
    assert len(train) == len(probe) == 3000  # no premise twice


def test_a_longer_set_starts_with_the_shorter_one():
    assert draw_meanings(150, split="probe")[: 3 * 70] == draw_meanings(70, split="probe")


def test_another_seed_draws_other_meanings():
    assert draw_meanings(20, split="train", seed=1) != draw_meanings(20, split="train", seed=0)


def test_asking_for_more_premises_than_exist_says_how_many_there_are():
    with pytest.raises(
        XlingValueError, match=r"has [\d,]{5,} different premises .* fewer than the 1,000,000 asked for"
    ):
        draw_meanings(1_000_000, split="probe")


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(XlingValueError, match="split 'prob'; did you mean 'probe'.*choose from train, probe"):
        generate("en", 3, split="prob")


def test_no_premise_at_all_is_refused():
    with pytest.raises(XlingValueError, match="at least 1, not 0"):
        generate("en", 0, split="train")


# --- sentences -----------------------------------------------------------------------------------------------------


def test_all_xnli_languages_are_embedded():
    assert set(available_languages()) >= set(XNLI_LANGUAGES)


def test_the_table_has_stable_ids_and_balanced_labels():
    pairs = generate("en", 50, split="train")
    assert list(pairs.columns) == list(COLUMNS)
    assert list(pairs["example_id"]) == list(range(150))
    assert list(pairs["premise_id"]) == [number // 3 for number in range(150)]
    assert set(pairs["label"].value_counts()) == {50}


@pytest.mark.parametrize("language", XNLI_LANGUAGES)
def test_rows_are_parallel_and_well_formed_in_every_language(language):
    pairs, english = generate(language, 300, split="train"), generate("en", 300, split="train")
    assert list(pairs["label"]) == list(english["label"])
    sentences = list(pairs["premise"]) + list(pairs["hypothesis"])
    assert not any("{" in s or "}" in s or "  " in s or " ." in s or s != s.strip() for s in sentences)
    assert all(s[0] == s[0].upper() for s in sentences)
    of_meaning = {}
    for own, other in zip(sentences, list(english["premise"]) + list(english["hypothesis"]), strict=True):
        of_meaning.setdefault(own, set()).add(other)
    # one sentence may stand for two English wordings of one meaning, never for two meanings
    assert max(map(len, of_meaning.values())) <= 2


@pytest.mark.parametrize("language", XNLI_LANGUAGES)
def test_different_values_have_different_forms(language):
    forms = load_language(language).forms
    for section in ("subject", *SLOTS):
        said = [yaml.safe_dump(form, allow_unicode=True) for form in forms[section].values()]
        assert len(set(said)) == len(said), section


def n_grams(sentences: list[str]) -> list[set[str]]:
    """Character 1- to 3-grams, which serve any script, and the length in steps of five characters."""
    return [{s[i : i + n] for n in (1, 2, 3) for i in range(len(s) - n + 1)} | {len(s) // 5} for s in sentences]


def classifier_accuracy(train, probe, column: str) -> float:
    """Held-out accuracy of a logistic regression on the n-grams of one column."""
    frequent = Counter(gram for bag in n_grams(list(train[column])) for gram in bag)
    rows = {gram: row for row, gram in enumerate(gram for gram, count in frequent.items() if count >= 10)}

    def features(pairs) -> torch.Tensor:
        x = torch.zeros(len(pairs), len(rows))
        for row, bag in enumerate(n_grams(list(pairs[column]))):
            x[row, [rows[gram] for gram in bag if gram in rows]] = 1
        return x

    x, y = features(train), torch.tensor([LABELS.index(label) for label in train["label"]])
    weight = torch.zeros(len(rows), 3, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.02, weight_decay=1e-4)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(x @ weight, y).backward()
        optimiser.step()
    predicted = (features(probe) @ weight).argmax(1)
    return float(np.mean([LABELS[p] == label for p, label in zip(predicted, probe["label"], strict=True)]))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_classifier_of_one_sentence_stays_at_chance(language):
    train, probe = generate(language, 480, split="train"), generate(language, 480, split="probe")
    margin = 3 * (2 / 9 / len(probe)) ** 0.5  # three standard errors of a guess
    assert abs(classifier_accuracy(train, probe, "hypothesis") - 1 / 3) < margin
    assert classifier_accuracy(train, probe, "premise") == pytest.approx(1 / 3)  # every premise has all three labels


def test_the_classifier_finds_a_betraying_word():
    train, probe = generate("en", 100, split="train"), generate("en", 100, split="probe")
    for pairs in (train, probe):
        pairs.loc[pairs["label"] == "neutral", "hypothesis"] += " Perhaps."
    assert classifier_accuracy(train, probe, "hypothesis") > 0.6


def test_word_overlap_tells_something_but_not_the_label():
    pairs = generate("en", 1000, split="probe")
    new = [
        len(set(h.lower().split()) - set(p.lower().split()))
        for p, h in zip(pairs.premise, pairs.hypothesis, strict=True)
    ]
    counts = Counter(zip(new, pairs["label"], strict=True))
    best = sum(max(counts[n, label] for label in LABELS) for n in set(new)) / len(pairs)
    assert 0.34 < best < 0.6


# --- a language is a file ------------------------------------------------------------------------------------------


def test_a_sixteenth_language_needs_only_a_file(tmp_path, english):
    english["subject"] = {name: {"c": f"la {name}"} for name in english["subject"]}
    english["words"] = {"is": {"c": "es"}}
    english["templates"]["activity"] = ["{subject} {is} {activity.pos}!"]
    folder = write_language(tmp_path, english)
    assert available_languages(folder) == sorted([*available_languages(), "xx"])
    pairs = generate("xx", 40, split="train", language_dir=folder)
    assert any(h.startswith("La ") and " es " in h and h.endswith("!") for h in pairs["hypothesis"])


def test_a_users_file_replaces_an_embedded_language(tmp_path, english):
    english["subject"]["doctor"] = "the physician"
    folder = write_language(tmp_path, english, "en")
    assert load_language("en", folder).forms["subject"]["doctor"] == "the physician"
    assert load_language("en").forms["subject"]["doctor"] == "the doctor"


def test_an_unknown_language_is_refused_with_those_that_exist():
    with pytest.raises(XlingValueError, match=r"no language 'zhh'; it speaks ar, bg, .* did you mean 'zh'"):
        generate("zhh", 3, split="train")


def test_a_missing_language_folder_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="language_dir must be a folder"):
        available_languages(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["subject: [unclosed", "\x00"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, text):
    with pytest.raises(XlingValueError, match=r"xx.yaml must be yaml in UTF-8"):
        load_language("xx", write_language(tmp_path, text))


@pytest.mark.parametrize("content", ["- a list", ""])
def test_a_file_without_sections_is_refused(tmp_path, content):
    with pytest.raises(XlingValueError, match="lacks the section 'templates'"):
        load_language("xx", write_language(tmp_path, content))


def test_a_missing_entry_is_named(tmp_path, english):
    del english["activity"]["read_novel"]
    with pytest.raises(XlingValueError, match="activity: no form for 'read_novel'"):
        load_language("xx", write_language(tmp_path, english))


def test_an_unknown_entry_is_named_with_what_was_meant(tmp_path, english):
    english["place"]["kitchn"] = "in the kitchen"
    with pytest.raises(XlingValueError, match="place: unknown entry 'kitchn'; did you mean 'kitchen'"):
        load_language("xx", write_language(tmp_path, english))


def test_a_form_missing_for_a_gender_is_named(tmp_path, english):
    english["subject"]["nurse"] = {"f": "the nurse"}
    english["activity"]["read_novel"] = {"m": "reading a novel"}
    with pytest.raises(
        XlingValueError, match=r"'read_novel' has no form for {activity\.pos} after a subject of gender"
    ):
        load_language("xx", write_language(tmp_path, english))


def test_a_placeholder_of_another_slot_is_refused(tmp_path, english):
    english["templates"]["activity"] = ["{subject} is {place}."]
    with pytest.raises(XlingValueError, match=r"'activity': .place. is none of subject, activity"):
        load_language("xx", write_language(tmp_path, english))


def test_a_malformed_placeholder_is_refused(tmp_path, english):
    english["templates"]["activity"] = ["{subject} is {activity pos}."]
    with pytest.raises(XlingValueError, match="expected placeholders like"):
        load_language("xx", write_language(tmp_path, english))


@pytest.mark.parametrize("wordings", ["{subject} is {activity.pos}.", ["a", "b", "c"]])
def test_a_template_must_be_one_or_two_sentences(tmp_path, english, wordings):
    english["templates"]["activity"] = wordings
    with pytest.raises(XlingValueError, match="expected a list of one or two sentences"):
        load_language("xx", write_language(tmp_path, english))
