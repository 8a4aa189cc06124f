"""Measures the tokenising of a large training set, and what every later start reads of it: CPU seconds and peak memory.

``python -m benchmarks.tokenising XNLI_FOLDER TOKENIZER_FOLDER --code BEFORE --code .`` measures checkouts side by side; the
training pairs that are there are repeated, with other numbers in them, up to ``--pairs``.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.many_runs import measure

PREPARE = """
import sys, time
from pathlib import Path
from transformers import AutoTokenizer
from xling.data.sources.xnli import XnliSource
from xling.tasks import SentenceClassification
root, tokenizer, cache, pairs = *sys.argv[1:4], int(sys.argv[4])
frame = XnliSource(root)("en", "train")
frame = frame.loc[frame.index.repeat(-(-pairs // len(frame)))].head(pairs).reset_index(drop=True)
frame["example_id"], frame["group_id"] = range(pairs), range(pairs)
frame["text"] = frame["text"] + " " + frame["example_id"].astype(str)
task = SentenceClassification(("entailment", "neutral", "contradiction"))
tokenizer = AutoTokenizer.from_pretrained(tokenizer)
"""
PARTS = {
    "nothing but the examples and the tokenizer": "",
    "tokenising them": """
from xling.data.tokenised import load_tokenised
load_tokenised(frame, "train.en", task, tokenizer, 128, Path(cache))
""",
    "opening what was tokenised, lengths read": """
from xling.data.tokenised import load_tokenised
load_tokenised(frame, "train.en", task, tokenizer, 128, Path(cache)).lengths
""",
    "datasets.map alone": """
import datasets
def encode(rows): return tokenizer(rows["text"], rows["text_pair"], truncation=True, max_length=128, return_attention_mask=False)
datasets.disable_caching()
datasets.Dataset.from_pandas(frame).map(encode, batched=True)
""",
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("xnli", type=Path, help="folder with train.en.tsv")
    parser.add_argument("tokenizer", type=Path, help="folder of a tokenizer")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--code", type=Path, action="append", help="a checkout; may be repeated")
    options = parser.parse_args()
    print("| what | checkout | CPU, s | peak memory, MB |\n|---|---|---|---|")
    for checkout in options.code or [Path()]:
        with tempfile.TemporaryDirectory() as cache:
            arguments = [str(options.xnli.resolve()), str(options.tokenizer.resolve()), cache, str(options.pairs)]
            for name, code in PARTS.items():
                seconds, megabytes = measure(PREPARE + code, checkout, arguments)
                print(f"| {name} | {checkout} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
