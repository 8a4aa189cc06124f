"""Changes the parts of a run for ``cache_frozen=true``: training starts from the stored output of the frozen layers."""

from typing import cast

import pytorch_lightning as pl

from xling.data.tokenised import TokenisedExamples
from xling.errors import XlingValueError
from xling.machine.processes import shards_parameters
from xling.machine.run_precision import probe_precision
from xling.models.fast.prefix import prefix_layer, store_prefix
from xling.models.fast.prefixed_examples import PrefixedExamples
from xling.settings import RunSettings
from xling.training.parts import Parts


def start_after_frozen_layers(settings: RunSettings, parts: Parts, trainer: pl.Trainer) -> None:
    """Have training start from the stored output of the frozen lowest layers (``cache_frozen=true``).

    Frozen layers without dropout give the same output in every epoch, so that it suffices to compute it once per training
    example. It is computed in the precision of the weights, without autocast.

    Args:
        settings: settings of the run.
        parts: parts of the run; its training examples and its module are changed in place.
        trainer: the trainer that is about to fit them.

    Raises:
        XlingValueError: the lowest layers are not frozen, draw dropout or are sharded.
        UnreachableError: the disk has too little space.
    """
    if shards_parameters(settings.trainer):
        raise XlingValueError(
            "cache_frozen=true needs whole blocks, and trainer=fsdp shards them; use trainer=ddp, or set cache_frozen=false"
        )
    layer = prefix_layer(parts.recorder.frozen_layers)
    if layer is None or settings.freeze.dropout != "off":
        raise XlingValueError(
            "cache_frozen=true needs the embeddings and the blocks above them frozen, without dropout, e.g. "
            "freeze=bottom_k freeze.dropout=off; or set cache_frozen=false"
        )
    trainer.precision_plugin.convert_module(parts.module)  # as the fit will, where the weights are to be lowered
    encoder, datamodule = parts.module.encoder.to(trainer.strategy.root_device), parts.datamodule
    examples = cast(TokenisedExamples, datamodule.train)
    precision = probe_precision(str(settings.trainer.precision), autocast=False)
    key = [parts.facts["model"]["content_hash"], examples.fingerprint, precision]
    folder = settings.cache_dir / "prefix"
    states = store_prefix(encoder, layer, examples.lengths, datamodule.encoder_inputs(examples), folder, key)
    datamodule.train, parts.module.prefix_layer = PrefixedExamples(examples, states), layer
