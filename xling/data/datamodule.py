"""Prepares the data of one run: training batches of the source language, and one probe loader per target language."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from xling.data.batching import LengthBucketBatches
from xling.data.collate import PadToLongest
from xling.data.examples import limit_examples, without_unlabelled
from xling.data.lazy_tokenizer import LazyTokenizer
from xling.data.overlap import Overlap
from xling.data.protocols import ExampleSource, TaskData, TrainingSet
from xling.data.tokenised import TokenisedExamples, load_tokenised
from xling.errors import XlingValueError


class TransferDataModule(pl.LightningDataModule):
    """Trains on `source_language`, validates on the probe set of every target language.

    ``val_dataloader()`` is a dict from target language to loader, the source first; callbacks take their names from it.

    Args:
        source: source that gives examples by language and split.
        task: task that checks and tokenises the examples; after ``setup`` the task that has learnt its labels.
        tokenizer: tokenizer of the encoder.
        source_language: language the model is fine-tuned on.
        target_languages: languages the model is evaluated on; the source language may be one of them.
        train_split: name of the split that is trained on.
        probe_split: name of the split that is evaluated and whose representations are compared.
        train_limit: largest number of training rows; None: all.
        probe_limit: largest number of rows per probe set; None: all.
        limit_seed: seed of the choice that a limit makes. It is not the run's seed, so that runs of different seeds share data.
        max_length: largest number of tokens per example.
        batch_size: training examples per optimiser step, over all processes and ``accumulate_grad_batches`` parts.
        eval_batch_size: probe examples per batch, over all processes.
        eval_tokens: largest number of tokens per probe batch, padding included, in place of a number of examples.
        seed: seed of the training order.
        cache_dir: folder for tokenised data.
        num_workers: number of loader processes; tokenised rows are cheap to read, so 0 is usually best.
        drop_unlabelled: whether examples without a label are left out, with a line in the log, and not refused.

    Raises:
        XlingValueError: training and probe split are the same, or a target language is named twice. ``setup`` raises it where a
            probe set is part of the training examples.
    """

    def __init__(
        self,
        source: ExampleSource,
        task: TaskData,
        tokenizer: PreTrainedTokenizerBase | LazyTokenizer,
        *,
        source_language: str,
        target_languages: Sequence[str],
        train_split: str,
        probe_split: str,
        train_limit: int | None = None,
        probe_limit: int | None = None,
        limit_seed: int = 0,
        max_length: int = 128,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        eval_tokens: int | None = None,
        seed: int = 42,
        cache_dir: Path | str,
        num_workers: int = 0,
        drop_unlabelled: bool = False,
    ) -> None:
        super().__init__()
        if train_split == probe_split:
            raise XlingValueError(f"training and probe split are both {train_split!r}; choose different splits")
        if len(set(target_languages)) < len(target_languages):
            raise XlingValueError(
                f"target_languages names a language twice: {', '.join(target_languages)}; name each once"
            )
        self.source, self.task, self.tokenizer = source, task, tokenizer
        self.source_language, self.target_languages = source_language, tuple(target_languages)
        self.train_split, self.probe_split = train_split, probe_split
        self.train_limit, self.probe_limit, self.limit_seed = train_limit, probe_limit, limit_seed
        self.max_length, self.batch_size = max_length, batch_size
        self.eval_batch_size, self.eval_tokens = eval_batch_size, eval_tokens
        self.seed, self.cache_dir, self.num_workers = seed, Path(cache_dir), num_workers
        self.drop_unlabelled = drop_unlabelled
        self.train: TrainingSet | None = None
        self.probes: dict[str, TokenisedExamples] = {}
        self._position: dict[str, int] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Load and tokenise once; later calls (Lightning makes one per stage) do nothing."""
        if self.train is not None:
            return
        frame = self._read(self.source_language, self.train_split)
        self.task = self.task.fitted(frame)
        frame = self._limited(frame, self.train_limit)
        overlap = Overlap(frame, self.task, f"{self.train_split}.{self.source_language}")
        train = self._tokenised(frame, self.source_language, self.train_split)
        for target in sorted(self.target_languages, key=lambda t: t != self.source_language):  # the source first
            frame = self._limited(self._read(target, self.probe_split), self.probe_limit)
            overlap.check(frame, f"{self.probe_split}.{target}")
            self.probes[target] = self._tokenised(frame, target, self.probe_split)
        self.train = train

    @property
    def training_set(self) -> TrainingSet:
        """The training examples that :meth:`setup` has loaded."""
        return cast(TrainingSet, self.train)

    def _read(self, language: str, split: str) -> pd.DataFrame:
        where, frame = f"{split}.{language}", self.source(language, split)
        if self.drop_unlabelled:
            frame = without_unlabelled(frame, self.task, where)
        return self.task.check(frame, where)

    def _limited(self, frame: pd.DataFrame, limit: int | None) -> pd.DataFrame:
        return limit_examples(frame, limit, self.limit_seed)

    def _tokenised(self, frame: pd.DataFrame, language: str, split: str) -> TokenisedExamples:
        name = f"{split}.{language}"
        return load_tokenised(frame, name, self.task, self.tokenizer, self.max_length, self.cache_dir)

    @property
    def probe_fingerprints(self) -> dict[str, str]:
        """Target language -> fingerprint of its tokenised probe set; callbacks key stored representations by it."""
        return {language: probe.fingerprint for language, probe in self.probes.items()}

    def probe_groups(self, language: str) -> tuple[Tensor, Tensor]:
        """Give a probe set's example ids and the ids of their groups, both int64 [n]; examples of a group are not independent."""
        probe = self.probes[language]
        return torch.tensor(probe.example_ids), torch.tensor(
            probe.group_ids
        )  # copies: Arrow's memory is not to be written

    def is_parallel(self, language: str, other: str) -> bool:
        """Whether `language`'s probe set has every example id of `other`'s, so that each example has a counterpart."""
        return bool(np.isin(self.probes[other].example_ids, self.probes[language].example_ids).all())

    def train_dataloader(self) -> DataLoader:
        """Length-bucketed, shuffled batches of the source language; after a checkpoint was loaded, those still to come."""
        loader = self._loader(self.training_set, self.batch_size, shuffle=True)
        position, self._position = self._position, None
        if position is not None:
            cast(LengthBucketBatches, loader.sampler).go_on(**position)
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return how far training is in its data: the epoch, and the number of its batches that were trained on.

        Batches that loader workers have fetched in advance do not count.
        """
        trainer = cast(pl.Trainer, self.trainer)  # a checkpoint is a trainer's
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        return {"epoch": trainer.current_epoch, "n_done": done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the position for the next training loader, which Lightning asks for before it restores its own counters."""
        self._position = dict(state_dict)

    def val_dataloader(self) -> dict[str, DataLoader]:
        """Make a loader per target language, always in the same order."""
        return {t: self._loader(probe, self.eval_batch_size, shuffle=False) for t, probe in self.probes.items()}

    def unlabelled_batches(self, languages: Sequence[str]) -> list[dict[str, Tensor]]:
        """Make batches of the training split in other languages, whose labels must not be read by who trains on them.

        Each batch holds one language. The languages take turns as long as they have batches left, in an order that the seed fixes.
        """
        by_language = []
        for language in languages:
            frame = self._limited(self._read(language, self.train_split), self.train_limit)
            examples = self._tokenised(frame, language, self.train_split)
            collate = PadToLongest(examples.pad_token_id, self.task.fills)
            order = LengthBucketBatches(examples.lengths, self.batch_size, shuffle=True, seed=self.seed)
            by_language.append([collate(examples[rows]) for rows in order])
        return [batch for turn in itertools.zip_longest(*by_language) for batch in turn if batch is not None]

    def encoder_inputs(self, examples: TokenisedExamples) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Yield every example once, the shortest first: positions of the rows, and the batch of what the encoder takes of them."""
        collate = PadToLongest(examples.pad_token_id, self.task.fills)
        names = ("input_ids", "attention_mask", "token_type_ids")
        for rows in LengthBucketBatches(examples.lengths, self.eval_batch_size, shuffle=False):
            batch = collate(examples[rows])
            yield rows, {name: batch[name] for name in names if name in batch}

    def _loader(self, examples: TrainingSet, batch_size: int, *, shuffle: bool) -> DataLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        n_parts = self.trainer.accumulate_grad_batches if self.trainer and shuffle else 1
        batches = LengthBucketBatches(
            examples.lengths,
            batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            n_parts=n_parts,
            max_tokens=None if shuffle else self.eval_tokens,
        )
        return DataLoader(
            cast(Dataset, examples),
            sampler=batches,  # yields whole batches: Lightning calls set_epoch on a loader's `sampler`
            batch_size=None,
            collate_fn=PadToLongest(examples.pad_token_id, self.task.fills),
            num_workers=self.num_workers,
            # workers that persist would draw fewer seeds from the global random state, and so change the dropout
            persistent_workers=False,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )
