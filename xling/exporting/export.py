"""Writes a fine-tuned run as a folder that transformers loads: weights with their head, tokenizer, model card."""

from pathlib import Path

import pyarrow.parquet as pq

from xling.errors import MissingFileError, XlingValueError
from xling.exporting.model_card import model_card
from xling.exporting.modeling_xling import XlingConfig
from xling.exporting.models import as_transformers_model
from xling.models.encoders import load_tokenizer, quiet_transformers
from xling.runs.directory import CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, RunDirectory, read_settings
from xling.runs.packs import is_pack
from xling.runs.tables import TRANSFER_FILE
from xling.storage.atomic import atomic_path
from xling.training.finished import load_finetuned


def export(run: Path | str | RunDirectory, folder: Path | str) -> Path:
    """Write a run's fine-tuned model as an ordinary Hugging Face folder.

    ``AutoModelForSequenceClassification.from_pretrained(folder)``, or the class for words or for questions, then gives the
    run's predictions. Where transformers' own class of the architecture has another head than the run (for sentences: all that
    pool by the mean or the first token), the folder holds a module of its own, and is loaded with ``trust_remote_code=True``, or
    after ``import xling.exporting``. Adapters are merged into the weights. Weights are float32.

    >>> xling.export("runs/mine/de/none/seed_1", "exported/de")  # doctest: +SKIP

    Args:
        run: directory of a finished run that kept its checkpoint (``keep_checkpoint=true``), or what :func:`xling.train` gave.
        folder: made here; it must not exist, or be empty. It is complete or not there.

    Returns:
        The folder.

    Raises:
        MissingFileError: there is no such run, the run is not finished, or it kept no checkpoint.
        CorruptArtefactError: the checkpoint, or a record of the run, has changed.
        XlingValueError: `run` is a pack, `folder` has files in it, the base model has changed, or the task is one of another
            package.
    """
    run, folder = run if isinstance(run, RunDirectory) else RunDirectory(run), Path(folder)
    _check_exports(run, folder)
    manifest = run.read_manifest()
    settings, module = load_finetuned(run.path)
    model = as_transformers_model(module)
    tokenizer = load_tokenizer(settings.model, settings.cache_dir)
    tokenizer.model_max_length = settings.data.max_length
    records = {"manifest": manifest} | {
        name: run.read_record(file) for name, file in (("environment", ENVIRONMENT_FILE), ("data", DATA_FILE))
    }
    transfer = pq.read_table(run.path / TRANSFER_FILE).to_pandas()
    own_code = isinstance(model.config, XlingConfig)
    card = model_card(settings, records, transfer, type(module).__name__, own_code)
    with atomic_path(folder) as scratch, quiet_transformers():
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        (scratch / "README.md").write_text(card, encoding="utf-8")
    return folder


def _check_exports(run: RunDirectory, folder: Path) -> None:
    if is_pack(run.path):
        raise XlingValueError(
            f"expected the directory of a run, got {run.path}, a pack, which holds no weights; name the seed_* folder of the "
            "machine that trained it"
        )
    if not run.path.is_dir() or not (run.path / CONFIG_FILE).is_file():
        raise MissingFileError(
            f"expected a run directory with {CONFIG_FILE} at {run.path}, found none; name a seed_* folder"
        )
    if not run.is_complete:
        raise MissingFileError(f"expected a finished run at {run.path}, found no manifest; let it end first")
    plan = read_settings(run.path).intervention
    if plan.name and not plan.trains:
        raise MissingFileError(
            f"expected a trained run at {run.path}, found a record of xling-restore ({plan.name}), which keeps no weights; "
            "export the run that it was made of"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise XlingValueError(f"expected {folder} to be a new or an empty folder, found files; choose another one")
