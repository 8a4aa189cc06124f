"""Where the representations from before training are shared, named by what they depend on; needs no torch."""

from pathlib import Path

from xling.machine.precision import probe_precision
from xling.settings import RunSettings
from xling.storage.hashing import content_key


def base_folder(settings: RunSettings, model_hash: str) -> Path:
    """The folder of the cache that runs share: keyed by the content of model and probe, not by names or times.

    Args:
        settings: of a run; its cache, layers, pooling and precision are read.
        model_hash: of the encoder's weights before training.
    """
    precision = probe_precision(str(settings.trainer.precision), settings.probe.autocast)
    key = content_key(model_hash, settings.representation_layers, settings.probe.pooling, precision)
    return settings.cache_dir / "base" / key
