"""Small data sets written for the tests, in the layouts that tasks read, and runs on them."""

import json
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.settings import RunSettings

COLOURS = {
    "en": ("red", "blue", "green", "white"),
    "de": ("rot", "blau", "grün", "weiß"),
    "pl": ("czerwony", "niebieski", "zielony", "biały"),
}
NAMES = ("Ana", "Ben", "Eva", "Jan", "Mia", "Tom")
SENTENCE = {"en": "The ball of {} is {} .", "de": "Der Ball von {} ist {} .", "pl": "Balon dziecka {} jest {} ."}
QUESTION = {"en": "Which ball is {} ?", "de": "Welcher Ball ist {} ?", "pl": "Który balon jest {} ?"}
TAGS = ("DET", "NOUN", "ADP", "PROPN", "AUX", "ADJ", "PUNCT")


def write_pud(folder: Path, languages: list[str], n: int = 40) -> None:
    """Parallel sentences as CoNLL-U, one file per language; Polish has no article, so its first word is a noun."""
    for language in languages:
        blocks = []
        for i in range(n):
            words = SENTENCE[language].format(NAMES[i % 6], COLOURS[language][i // 6 % 4]).split()
            tags = TAGS if language != "pl" else ("NOUN", "NOUN", "PROPN", "AUX", "ADJ", "PUNCT")
            lines = [f"{k}\t{w}\t_\t{t}\t_\t_\t_\t_\t_\t_" for k, (w, t) in enumerate(zip(words, tags, strict=True), 1)]
            blocks.append("\n".join([f"# sent_id = n{i:03d}", *lines]))
        (folder / f"{language}_pud-ud-test.conllu").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def write_squad(folder: Path, languages: list[str], n: int = 12) -> None:
    """Parallel paragraphs with two questions each, in SQuAD's layout: which child has the ball of a colour."""
    for language in languages:
        paragraphs = []
        for i in range(n):
            people = [NAMES[(i + k) % 6] for k in range(2)]
            colours = [COLOURS[language][(i // 6 + k) % 4] for k in range(2)]
            context = " ".join(SENTENCE[language].format(*pair) for pair in zip(people, colours, strict=True))
            qas = [
                {
                    "id": f"q{i}.{k}",
                    "question": QUESTION[language].format(colour),
                    "answers": [{"text": person, "answer_start": context.index(person)}],
                }
                for k, (person, colour) in enumerate(zip(people, colours, strict=True))
            ]
            paragraphs.append({"context": context, "qas": qas})
        text = json.dumps({"data": [{"title": "balls", "paragraphs": paragraphs}]}, ensure_ascii=False)
        (folder / f"xquad.{language}.json").write_text(text, encoding="utf-8")


def write_ner(folder: Path, languages: list[str], n: int = 24) -> None:
    """Sentences with a person in each, as token<TAB>tag; other names in every language, as a set that is not parallel."""
    for language in languages:
        blocks = []
        for i in range(n):
            words = (
                SENTENCE[language].format(f"{NAMES[i % 6]} {language.upper()}", COLOURS[language][i // 6 % 4]).split()
            )
            name = words.index(NAMES[i % 6])
            tags = ["B-PER" if k == name else "I-PER" if k == name + 1 else "O" for k in range(len(words))]
            blocks.append("\n".join(f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)))
        (folder / f"train-{language}.tsv").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def make_task_config(root: Path, output_dir: Path, *overrides: str) -> RunSettings:
    """Compose the real configuration with the random tiny model on files below `root`."""
    shrunk = [
        *(
            "model=tiny_bert",
            "study=test",
            f"data.root={root}",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "optimizer.learning_rate=1e-3",
        ),
        *("trainer.max_epochs=1", f"output_dir={output_dir}", f"cache_dir={output_dir}/cache", "data.batch_size=8"),
    ]
    with initialize_config_module("xling.conf", version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", [*overrides[:1], *shrunk, *overrides[1:]]), resolve=True)
    return RunSettings.from_plain(plain)
