"""Names the folder in which runs share the representations from before training, after what they depend on; needs no torch."""

from pathlib import Path

from xling.machine.run_precision import probe_precision
from xling.settings import RunSettings
from xling.storage.hashing import content_key


def base_folder(settings: RunSettings, model_hash: str) -> Path:
    """Name the folder of the cache that runs share by what its content depends on, not by the names or times of runs.

    Args:
        settings: settings of a run, of which cache, layers, pooling and precision are read.
        model_hash: hash of the encoder's weights before training.
    """
    precision = probe_precision(str(settings.trainer.precision), settings.probe.autocast)
    key = content_key(model_hash, settings.representation_layers, settings.probe.pooling, precision)
    return settings.cache_dir / "base" / key
