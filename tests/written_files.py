"""Small files for tests: rows of a table, sentences of a treebank."""

from pathlib import Path

PLAIN = {"text": "text", "label": "label"}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(n: int, word: str = "word") -> str:
    return "text\tlabel\n" + "".join(f"{word} {i}\t{'ab'[i % 2]}\n" for i in range(n))


def conllu(*words: str, tag: str = "NOUN") -> str:
    return "".join(f"{i}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n" for i, word in enumerate(words, 1)) + "\n"
