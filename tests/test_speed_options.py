"""The faster ways to train against the plain one, through the command's own function."""

import pandas as pd
import pytest
import torch
from weights import assert_same_weights, weights_after, weights_of

from xling.commands.train import train
from xling.errors import XlingValueError
from xling.training.frozen_prefix import start_after_frozen_layers

FROZEN = ("freeze=bottom_k", "freeze.k=1", "freeze.dropout=off")


def test_a_stored_prefix_gives_the_weights_that_the_whole_encoder_gives(make_config, cache_dir):
    plain = weights_after(make_config("study=plain", *FROZEN))
    stored = weights_after(make_config("study=stored", "cache_frozen=true", *FROZEN))
    assert_same_weights(plain, stored)
    files = list((cache_dir / "prefix").glob("*.f32"))
    assert len(files) == 1
    weights_after(make_config("study=again", "cache_frozen=true", "seed=7", *FROZEN))
    assert list((cache_dir / "prefix").glob("*.f32")) == files


@pytest.mark.parametrize(
    "settings", [(), ("freeze=none",), ("freeze=bottom_k", "freeze.k=1"), ("freeze=top_k", "freeze.k=1")]
)
def test_a_prefix_is_refused_where_its_output_would_change(make_config, settings):
    with pytest.raises(
        XlingValueError, match=r"cache_frozen=true needs the embeddings and the blocks above them frozen"
    ):
        train(make_config("cache_frozen=true", *settings))


def test_a_prefix_is_refused_where_blocks_are_sharded(make_config):
    with pytest.raises(XlingValueError, match=r"cache_frozen=true needs whole blocks, and trainer=fsdp shards them"):
        start_after_frozen_layers(make_config("trainer.strategy=fsdp"), None, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # inductor's own call
def test_a_compiled_run_trains_compiled_and_measures_every_layer(make_config):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    settings = ("trainer.max_epochs=1", "model.dropout=off")
    run = train(make_config("study=compiled", "compile=true", *settings))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    impact = pd.read_parquet(run.path / "impact.parquet")
    assert impact.loc[impact["step"] > 0, "impact"].gt(1e-6).all()
    assert_same_weights(weights_after(make_config("study=plain", *settings)), weights_of(run))


def test_training_without_padding_is_not_compiled(make_config):
    with pytest.raises(XlingValueError, match=r"compile=true needs padded batches.*set compile=false or packed=false"):
        train(make_config("compile=true", "packed=true"))


def test_training_without_padding_gives_the_padded_weights(make_config):
    plain = weights_after(make_config("study=padded", "model.dropout=off"))
    packed = weights_after(make_config("study=packed", "packed=true", "model.dropout=off"))
    assert_same_weights(plain, packed)


def test_a_token_budget_changes_no_figure(make_config):
    tables = []
    for name, setting in (("rows", "data.eval_batch_size=8"), ("tokens", "data.eval_tokens=100")):
        table = pd.read_parquet(train(make_config(f"study={name}", setting)).path / "impact.parquet")
        tables.append(
            table[table["step"] > 0].drop(columns="study")
        )  # before training one batch is measured, of any size
    pd.testing.assert_frame_equal(*tables, atol=1e-5, rtol=1e-4)
