"""The command ``xling-export RUN FOLDER``, which writes a fine-tuned run as an ordinary Hugging Face folder."""

import argparse
import sys
from pathlib import Path

from xling.commands.console import run_and_tell
from xling.commands.parser import command_parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words of the command line; None = those of this process.

    Returns:
        Exit status: 0, or 1 after an error, which stands on stderr in one sentence.
    """
    options = _parser().parse_args(arguments)
    return run_and_tell(lambda: _export(options.run, options.folder))


def _export(run: Path, folder: Path) -> None:
    from xling.exporting.export import export  # torch and transformers, slow to import

    written = export(run, folder)
    size = sum(path.stat().st_size for path in written.iterdir()) / 1e6
    print(f"{written}: {size:.0f} MB; its README.md says how to load it")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "xling-export",
        "Write a run's fine-tuned model as an ordinary Hugging Face folder: weights with their head, tokenizer, model card. "
        "from_pretrained(FOLDER) then gives the run's predictions.",
        examples=["runs/mine/de/none/seed_1 exported/de"],
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run that kept its checkpoint")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="new folder to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
