"""The commands ``xling-pack`` and ``xling-unpack``, which turn a study into one file and back."""

import sys
from pathlib import Path

from xling.commands.parser import command_parser
from xling.errors import XlingError
from xling.runs.packs import (
    NOTE,
    PACK_SUFFIX,
    is_pack,
    merge_packs,
    pack_folder,
    read_pack,
    unpack,
    without_probabilities,
    write_pack,
)


def pack(arguments: list[str] | None = None) -> int:
    """Run ``xling-pack``; the exit status is 0 unless a study cannot be read or the file cannot be written."""
    parser = command_parser(
        "xling-pack",
        "Put the complete runs of a study into one file: settings, versions, fingerprints of the data, tables and "
        "predictions; no weights, no text of the data. xling-analyze, xling-status and load_study read it like a folder.",
        examples=["runs/mine", "part_1.xling part_2.xling -o whole.xling"],
    )
    parser.add_argument(
        "studies", type=Path, nargs="+", metavar="STUDY", help="folder or pack; several of one study merge"
    )
    parser.add_argument(
        "--output", "-o", type=Path, help=f"file to write; default: the study's name and {PACK_SUFFIX}, here"
    )
    parser.add_argument("--note", default=NOTE, help="on licence and origin; default: %(default)s")
    parser.add_argument(
        "--without-probabilities",
        action="store_true",
        help="keep predicted labels alone, which are all that an analysis uses; a quarter of the size",
    )
    options = parser.parse_args(arguments)
    try:
        found = [read_pack(path) if is_pack(path) else pack_folder(path, options.note) for path in options.studies]
        if options.without_probabilities:
            found = [without_probabilities(pack) for pack in found]
        merged = merge_packs(found)
        file = options.output or Path(f"{merged.study}{PACK_SUFFIX}")
        write_pack(merged, file)
    except XlingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{file}: {len(merged.runs)} runs of {merged.study}, {file.stat().st_size / 1e6:.1f} MB")
    return 0


def unpack_command(arguments: list[str] | None = None) -> int:
    """Run ``xling-unpack``; the exit status is 0 unless the file cannot be read or its study is there already."""
    parser = command_parser(
        "xling-unpack", "Write the runs of a packed study as folders.", examples=["mine.xling --into runs"]
    )
    parser.add_argument("file", type=Path, help=f"a pack, STUDY{PACK_SUFFIX}")
    parser.add_argument(
        "--into", type=Path, default=Path("runs"), help="where the study's folder is made; default: runs"
    )
    options = parser.parse_args(arguments)
    try:
        print(unpack(read_pack(options.file), options.into))
    except XlingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
