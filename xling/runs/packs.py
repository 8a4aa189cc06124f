"""Packs a whole study into one file (``STUDY.xling``), to be published and read without training.

A pack is a ZIP archive, format 1 (docs/packs.md)::

    pack.json                                      format, study, what made it, note, SHA-256 of every other file
    plan.json                                      the runs that were planned
    <source>/<strategy>/seed_<seed>/manifest.json  and the files it names: settings, versions, data fingerprints, tables

It holds no weights, logs or text of the data. Equal runs give equal bytes.
"""

import importlib.metadata
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.runs.directory import CONFIG_FILE, MANIFEST_FILE, RunDirectory
from xling.runs.planned_runs import PLAN_FILE
from xling.runs.tables import PREDICTIONS, PREDICTIONS_FILE
from xling.storage.atomic import atomic_path, read_json
from xling.storage.hashing import sha256
from xling.storage.yaml_text import parse_yaml

PACK_SUFFIX = ".xling"
PACK_FILE = "pack.json"
FORMAT = 1
NOTE = (
    "Measurements, settings and predicted labels; no text of the data sets. Gold labels and example ids are the data set's, "
    "under its licence (XNLI: CC BY-NC 4.0)."
)
_RUN_FILE = re.compile(r"[^/\\:]+/[^/\\:]+/seed_\d+/[A-Za-z0-9_]+\.(json|yaml|parquet)")
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that ZIP knows: bytes do not depend on when a pack was made


@dataclass(frozen=True)
class Pack:
    """The content of a pack.

    Attributes:
        study: name of the study.
        files: path relative to the study's folder -> content, of ``plan.json`` and the files of runs.
        note: a note on licence and origin.
    """

    study: str
    files: Mapping[str, bytes]
    note: str = NOTE

    @property
    def runs(self) -> list[str]:
        """Folders of the runs, sorted, e.g. ``en/none/seed_1``."""
        return sorted(name.rpartition("/")[0] for name in self.files if name.endswith(f"/{MANIFEST_FILE}"))


def is_pack(path: Path | str) -> bool:
    """Whether `path` is a ZIP file, which a folder and other files are not."""
    return Path(path).is_file() and zipfile.is_zipfile(path)


def pack_folder(folder: Path | str, note: str = NOTE) -> Pack:
    """Collect the complete runs of a study.

    Paths in the settings are cut to their last part, loggers are left out, and so are predictions that hold text (answers to
    questions).

    Args:
        folder: folder of the study.
        note: a note on licence and origin.

    Raises:
        MissingFileError: there is no such folder, or no complete run in it.
        CorruptArtefactError: a file of a run has changed since the run ended.
        XlingValueError: the folder holds runs of several studies.
    """
    folder = Path(folder)
    runs = sorted(path.parent for path in folder.glob(f"*/*/seed_*/{MANIFEST_FILE}"))
    if not runs:
        raise MissingFileError(
            f"expected the folder of a study with complete runs at {folder}, found none; give runs/STUDY"
        )
    studies = sorted({read_json(run / MANIFEST_FILE)["study"] for run in runs})
    if len(studies) > 1:
        raise XlingValueError(
            f"expected runs of one study in {folder}, found {', '.join(studies)}; pack each by itself"
        )
    files: dict[str, bytes] = {}
    for run in runs:
        name = run.relative_to(folder).as_posix()
        files |= {f"{name}/{file}": content for file, content in _pack_run(run).items()}
    keys = [dict(zip(("source_language", "strategy", "seed"), _key(run), strict=True)) for run in runs]
    planned = read_json(folder / PLAN_FILE)["runs"] if (folder / PLAN_FILE).is_file() else []
    return Pack(studies[0], files | {PLAN_FILE: _plan([*keys, *planned])}, note)


def _key(run: Path) -> tuple[str, str, int]:
    return run.parts[-3], run.parts[-2], int(run.name[5:])


def _plan(runs: Iterable[Mapping[str, Any]]) -> bytes:
    unique = sorted({(run["source_language"], run["strategy"], run["seed"]) for run in runs})
    return _json({"runs": [dict(zip(("source_language", "strategy", "seed"), key, strict=True)) for key in unique]})


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _pack_run(run: Path) -> dict[str, bytes]:
    manifest = RunDirectory(run).read_manifest()
    files = {name: (run / name).read_bytes() for name in sorted(manifest["files"])}
    files[CONFIG_FILE] = _without_paths(files[CONFIG_FILE])
    if PREDICTIONS_FILE in files and _holds_text(files[PREDICTIONS_FILE]):
        del files[PREDICTIONS_FILE]
    digests = {name: sha256(content) for name, content in files.items()}
    return files | {MANIFEST_FILE: _json(manifest | {"files": digests})}


def _without_paths(config: bytes) -> bytes:
    settings = parse_yaml(config.decode()) | {"logger": {}, "output_dir": "runs", "cache_dir": "cache"}
    return yaml.safe_dump(_cut_paths(settings), sort_keys=False, allow_unicode=True).encode()


def _cut_paths(value: Any) -> Any:
    """Cut every path outside the current folder to its last part, so that a pack does not reveal where data lay."""
    if isinstance(value, dict):
        return {key: _cut_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    path = PureWindowsPath(value)  # takes both slashes for separators
    leads_out = path.root or path.drive or (path.parts and path.parts[0] in ("~", ".."))
    return path.name if leads_out and "://" not in value else value


def _holds_text(predictions: bytes) -> bool:
    gold = pq.read_schema(BytesIO(predictions)).field("gold").type
    return pa.types.is_list(gold) or pa.types.is_large_list(gold)


def write_pack(pack: Pack, file: Path | str) -> None:
    """Write a pack; the file appears whole or not at all.

    Raises:
        UnreachableError: the file cannot be written.
    """
    facts = {
        "format": FORMAT,
        "study": pack.study,
        "made_by": f"xling {importlib.metadata.version('xling')}",
        "note": pack.note,
        "files": {name: sha256(content) for name, content in sorted(pack.files.items())},
    }
    with (
        atomic_path(file) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
    ):
        for name, content in [(PACK_FILE, _json(facts)), *sorted(pack.files.items())]:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def read_pack(file: Path | str) -> Pack:
    """Read a pack and check every file in it.

    Raises:
        MissingFileError: there is no such file.
        CorruptArtefactError: the file is no pack, has a later format, is damaged, or holds files that do not belong in a pack.
    """
    file = Path(file)
    if not file.is_file():
        raise MissingFileError(
            f"expected a packed study (*{PACK_SUFFIX}) at {file}, found no file; give a file of xling-pack"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            facts = json.loads(archive.read(PACK_FILE))
            if facts["format"] != FORMAT:
                raise CorruptArtefactError(
                    f"{file} is a pack of format {facts['format']}, this version reads format {FORMAT}; upgrade xling"
                )
            files = {name: archive.read(name) for name in facts["files"] if _is_allowed(name)}
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise CorruptArtefactError(f"{file} is no packed study, or damaged ({error}); fetch it again") from error
    for name, digest in facts["files"].items():
        if name not in files or sha256(files[name]) != digest:
            raise CorruptArtefactError(f"{name!r} in {file} is damaged or does not belong in a pack; fetch it again")
    return Pack(str(facts["study"]), files, str(facts["note"]))


def _is_allowed(name: str) -> bool:
    return name == PLAN_FILE or (_RUN_FILE.fullmatch(name) is not None and ".." not in PurePosixPath(name).parts)


def merge_packs(packs: Sequence[Pack]) -> Pack:
    """Join packs of one study; a run that is in several must be the same in all.

    Raises:
        XlingValueError: the packs are of several studies, or hold different runs under one name.
    """
    studies = sorted({pack.study for pack in packs})
    if len(studies) > 1:
        raise XlingValueError(f"expected packs of one study, found {', '.join(studies)}; pack each by itself")
    files: dict[str, bytes] = {}
    for pack in packs:
        for name, content in pack.files.items():
            if name != PLAN_FILE and files.setdefault(name, content) != content:
                raise XlingValueError(
                    f"{name} differs between two packs of {pack.study}: they hold two different runs under one name; "
                    "leave one of them out"
                )
    plans = [run for pack in packs for run in json.loads(pack.files[PLAN_FILE])["runs"]]
    return Pack(studies[0], files | {PLAN_FILE: _plan(plans)}, packs[0].note)


def without_probabilities(pack: Pack) -> Pack:
    """Leave the probabilities out of a pack's predictions; the labels stay, and with them all that an analysis uses.

    They are most of a pack (8.5 of 11.5 MB in 81 runs of XNLI): numbers that do not compress, one per example and label.
    """
    files = dict(pack.files)
    for run in pack.runs:
        name, manifest_name = f"{run}/{PREDICTIONS_FILE}", f"{run}/{MANIFEST_FILE}"
        if name in files:
            files[name] = _without_probabilities(files[name])
            manifest = json.loads(files[manifest_name])
            digests = manifest["files"] | {PREDICTIONS_FILE: sha256(files[name])}
            files[manifest_name] = _json(manifest | {"files": digests})
    return replace(pack, files=files)


def _without_probabilities(predictions: bytes) -> bytes:
    # pandas' own metadata would still list the columns that are gone
    table = pq.read_table(BytesIO(predictions), columns=list(PREDICTIONS)).replace_schema_metadata(None)
    others = [name for name in table.column_names if name != "example_id"]
    out = BytesIO()
    # ids of words mostly count up: as differences they take a quarter of the space, and they were most of what is left
    pq.write_table(table, out, use_dictionary=others, column_encoding={"example_id": "DELTA_BINARY_PACKED"})
    return out.getvalue()


def unpack(pack: Pack, folder: Path | str) -> Path:
    """Write the runs of a pack as folders, as training leaves them (without weights).

    Args:
        pack: the pack.
        folder: folder in which the study's folder is made, e.g. ``runs``.

    Returns:
        The study's folder.

    Raises:
        XlingValueError: the study's folder exists already.
    """
    target = Path(folder) / PureWindowsPath(pack.study).name
    if target.exists():
        raise XlingValueError(f"{target} is there already; unpack into another folder, or delete it")
    with atomic_path(target) as temporary:
        for name, content in pack.files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target
