"""Reads and writes the directory of one run: its files, when it counts as complete, and which process may write to it.

``<output_dir>/<study>/<source_language>/<strategy>/seed_<seed>/`` holds config.yaml, environment.json, data.json, the
tables of :mod:`xling.runs.tables`, checkpoints/, logs/metrics.csv, run.log and, written last, manifest.json. A directory without a
manifest is not complete. A process that writes holds a lock of the operating system, which ends with the process.
"""

import datetime
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from xling.errors import CorruptArtefactError, UnreachableError, XlingValueError
from xling.machine.description import describe_environment
from xling.runs.recorded_settings import NO_SETTINGS, settings_of
from xling.runs.resumed import Difference, check_resumable, differences, flatten, with_start
from xling.runs.state import LOCK_FILE, clear_state
from xling.runs.tables import IMPACT_FILE, TRANSFER_FILE
from xling.runs.targets import check_targets
from xling.settings import RunSettings
from xling.storage.atomic import TEMPORARY_PREFIX, atomic_path, read_json, write_json, write_text
from xling.storage.hashing import file_sha256, sha256
from xling.storage.locks import hold_lock

if TYPE_CHECKING:
    import pandas as pd

CONFIG_FILE = "config.yaml"
DATA_FILE = "data.json"
ENVIRONMENT_FILE = "environment.json"
LOG_FILE = "run.log"
MANIFEST_FILE = "manifest.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT_FILE = "last.ckpt"
_SETTINGS = "settings"
_IDENTITY = ("study", "source_language", "strategy", "seed")

NOT_IDENTITY = ("output_dir", "cache_dir", "dry_run", "logger", "trainer.accelerator", "trainer.devices",
                "trainer.num_nodes", "trainer.strategy", "trainer.enable_progress_bar", "data.num_workers", "keep_checkpoint",
                "checkpoint", "probe.predictions")  # fmt: skip
"""Settings that may differ between two starts of the same run, because they change where it runs and what it keeps, and not what it
computes."""


class RunDirectory:
    """Reads and writes one run's directory.

    Args:
        path: path of the directory, which is made when something is first written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def of(cls, output_dir: Path | str, study: str, source_language: str, strategy: str, seed: int) -> "RunDirectory":
        """Give the directory that belongs to a run's identity."""
        return cls(Path(output_dir) / study / source_language / strategy / f"seed_{seed}")

    @property
    def is_complete(self) -> bool:
        """Whether the manifest, written last, is there."""
        return (self.path / MANIFEST_FILE).is_file()

    @property
    def checkpoint(self) -> Path:
        """Path of the run's only checkpoint, whether or not it exists."""
        return self.path / CHECKPOINTS / CHECKPOINT_FILE

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the directory, so that no other process writes into it.

        Raises:
            UnreachableError: another live process holds the lock, or the directory cannot be written.
        """
        in_use = f"{self.path} is in use by another process; wait for it, or choose another study name"
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(hold_lock(self.path / LOCK_FILE, in_use))
            except UnreachableError:
                raise
            except OSError as error:
                raise UnreachableError(
                    f"cannot write {self.path}: {error.strerror}; choose another output_dir"
                ) from error
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Delete temporary files of a process that was killed; the caller holds the lock, so that nobody is writing them now."""
        for path in self.path.rglob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)

    def check_settings(self, settings: RunSettings) -> None:
        """Refuse a directory that holds a run of other settings. Nothing is written.

        Raises:
            XlingValueError: a setting differs from the recorded one, and is not among :data:`NOT_IDENTITY`.
        """
        if not (self.path / CONFIG_FILE).is_file():
            return
        recorded = read_settings(self.path)
        old, new = flatten(recorded.to_plain()), flatten(settings.to_plain())
        named = {*recorded.named, *settings.named}  # what they say stands where other settings refer to them
        keys = [
            key
            for key in sorted(old.keys() | new.keys())
            if not key.startswith(NOT_IDENTITY) and key.partition(".")[0] not in named
        ]
        differing = [key for key in keys if old.get(key) != new.get(key)]
        if differing:
            key = differing[0]
            more = f" (and {len(differing) - 1} more settings)" if len(differing) > 1 else ""
            raise XlingValueError(
                f"{self.path} holds a run with {key}={old.get(key)}, now {key}={new.get(key)}{more}; "
                "choose another study name or delete that folder"
            )

    def write_settings(self, settings: RunSettings) -> None:
        """Write the settings as config.yaml."""
        plain = settings.to_plain()
        write_text(self.path / CONFIG_FILE, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    def record_inputs(
        self, settings: RunSettings, facts: Mapping[str, Any], data: Mapping[str, Any]
    ) -> list[Difference]:
        """Record the environment and the data of a run; if the run is resumed, check that they have not changed.

        Args:
            settings: settings of the run, which are written as config.yaml.
            facts: facts about the model and more, which are written as environment.json with :func:`describe_environment`.
            data: fingerprints and sizes of training and probe sets, which are written as data.json.

        Returns:
            Versions and facts about the machine that differ from those of the last start; they are added to the record.

        Raises:
            XlingValueError: the model, the data or the precision are not those that the run was begun with.
        """
        environment = describe_environment() | dict(facts)
        if not self.checkpoint.is_file():
            self.write_settings(settings)
            write_json(self.path / ENVIRONMENT_FILE, environment)
            write_json(self.path / DATA_FILE, dict(data))
            return []
        changed = check_resumable(self.path, ENVIRONMENT_FILE, DATA_FILE, environment, data)
        changed += self._changed_settings(settings)
        if changed:
            write_json(self.path / ENVIRONMENT_FILE, with_start(read_json(self.path / ENVIRONMENT_FILE), changed))
        self.write_settings(settings)
        return [difference for difference in changed if not difference.name.startswith(_SETTINGS)]

    def _changed_settings(self, settings: RunSettings) -> list[Difference]:
        """List the settings that differ from those of the last start, as they may.

        config.yaml is overwritten with the latest settings, so that environment.json has to keep the earlier ones.
        """
        if not (self.path / CONFIG_FILE).is_file():
            return []
        recorded = {_SETTINGS: read_settings(self.path).to_plain()}
        return differences(recorded, {_SETTINGS: settings.to_plain()})

    def write_tables(self, tables: Mapping[str, "pd.DataFrame"]) -> None:
        """Write tables, by file name."""
        for name, frame in tables.items():
            with atomic_path(self.path / name) as temporary:
                frame.to_parquet(temporary, index=False)

    def complete(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest, which makes the run complete."""
        files = [CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, *(path.name for path in sorted(self.path.glob("*.parquet")))]
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = {"finished": finished, **facts, "files": {name: file_sha256(self.path / name) for name in files}}
        write_json(self.path / MANIFEST_FILE, manifest)
        clear_state(self.path)

    def read_manifest(self, unchecked: Collection[str] = ()) -> dict[str, Any]:
        """Read the manifest and check every file it names.

        Args:
            unchecked: names of files that the caller itself compares with the manifest, by :func:`read_verified`.

        Raises:
            CorruptArtefactError: the file is no manifest of a complete run, or a file that it names is missing or has changed.
        """
        path = self.path / MANIFEST_FILE
        manifest = read_json(path)
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(files, dict):
            manifest, files = {}, {}
        needed = (CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, IMPACT_FILE, TRANSFER_FILE)
        absent = [name for name in (*_IDENTITY, *needed) if name not in {**manifest, **files}]
        if absent:
            raise CorruptArtefactError(
                f"{path} is no manifest of a complete run: it lacks {absent[0]}; delete its folder and run again"
            )
        for name in files.keys() - {*unchecked}:
            read_verified(self.path / name, files)
        return manifest

    def read_record(self, name: str) -> dict[str, Any]:
        """Read environment.json or data.json.

        Raises:
            CorruptArtefactError: the file holds no JSON object.
        """
        record = read_json(self.path / name)
        if not isinstance(record, dict):
            raise CorruptArtefactError(f"{self.path / name} holds no JSON object; delete its folder and run again")
        return record

    def remove_checkpoints(self) -> None:
        """Delete the checkpoints of a run that keeps none."""
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)


def read_verified(path: Path, digests: Mapping[str, str]) -> bytes:
    """Read a file of a complete run and compare it with the run's manifest.

    Args:
        path: path of the file.
        digests: file name -> sha256 in the manifest.

    Raises:
        CorruptArtefactError: the file is missing or has changed.
    """
    content = path.read_bytes() if path.is_file() else None
    if content is None or sha256(content) != digests[path.name]:
        raise CorruptArtefactError(
            f"{path} is missing or has changed since the run ended; delete its folder and run again"
        )
    return content


def read_settings(folder: Path) -> RunSettings:
    """Read the settings that a run recorded in `folder`; nothing that they name is imported.

    Raises:
        CorruptArtefactError: the file is no YAML, or holds no settings of a run.
    """
    path = folder / CONFIG_FILE
    try:
        return settings_of(path.read_text(encoding="utf-8"), folder.parent.name)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptArtefactError(f"{path} is not valid YAML; delete its folder and run again") from error
    except OSError as error:
        raise CorruptArtefactError(f"{path} cannot be read ({error.strerror}); see the file's permissions") from error
    except NO_SETTINGS as error:
        raise CorruptArtefactError(
            f"{path} holds no settings of a run ({error}); delete its folder and run again"
        ) from error


def read_settings_to_build(folder: Path) -> RunSettings:
    """Read the settings that a run recorded, for a caller that will make the objects they name.

    Raises:
        CorruptArtefactError: see :func:`read_settings`.
        XlingValueError: the settings name code of unknown origin, see :mod:`xling.runs.targets`.
    """
    settings = read_settings(folder)
    check_targets(settings.to_plain(), folder)
    return settings
