"""What training will hold in memory: the count without numbers against what autograd keeps of a real step."""

import pytest
import torch

from xling.freezing import freeze_layers, plan_freezing
from xling.models import EncoderSpec, load_encoder
from xling.models.size import KNOWN, PUBLISHED, count_parameters, find_config
from xling.models.tiny import N_LAYERS, TINY, tiny_config
from xling.sweeps.dry_run import phrase_memory
from xling.sweeps.memory import PLAIN, count_memory, estimate_memory

SHAPE = (4, 24)


def spec_of(architecture="bert"):
    return EncoderSpec("tiny", architecture, weights="tiny")


def count(architecture="bert", strategy="none", shape=SHAPE, precision="32-true", is_gpu=False, **options):
    plan = plan_freezing(strategy, **options)
    spec = spec_of(architecture)
    return count_memory(tiny_config(architecture), plan, shape, precision, spec=spec, is_gpu=is_gpu)


def kept_by_a_real_step(architecture, strategy, autocast=False, **options):
    """Bytes of every storage that autograd keeps, weights left out."""
    encoder = load_encoder(spec_of(architecture), "unused")
    encoder.config._attn_implementation = PLAIN
    freeze_layers(encoder, plan_freezing(strategy, **options))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*encoder.parameters(), *encoder.buffers())}
    kept = {}

    def keep(tensor):
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids = torch.randint(5, 200, SHAPE)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))[0].sum()
    return sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in own)


@pytest.mark.parametrize(("strategy", "options"), [("none", {}), ("bottom_k", {"k": 2}), ("word_embeddings", {})])
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "distilbert", "modernbert", "qwen3"])
def test_activations_are_those_that_a_real_step_keeps(architecture, strategy, options):
    expected = kept_by_a_real_step(architecture, strategy, **options)
    assert count(architecture, strategy, **options).activations == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "distilbert"])
def test_half_precision_is_counted_as_autocast_keeps_it(architecture):
    expected = kept_by_a_real_step(architecture, "none", autocast=True)
    assert count(architecture, precision="bf16-mixed").activations == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("architecture", TINY)
def test_every_architecture_is_counted_on_both_kinds_of_device(architecture):
    on_cpu, on_gpu = count(architecture), count(architecture, is_gpu=True, shape=SHAPE)
    assert on_gpu.activations > 0
    assert on_cpu.weights == on_gpu.weights == on_gpu.gradients


def test_a_step_grows_with_its_batch_and_more_than_linearly_with_its_length():
    one, twice = count().activations, count(shape=(8, 24)).activations
    assert twice == pytest.approx(2 * one, rel=0.1)
    assert count(shape=(4, 96)).activations > 4.2 * one
    fused = [count(shape=(4, length), is_gpu=True).activations for length in (24, 96)]
    assert fused[1] == pytest.approx(4 * fused[0], rel=0.15)


def test_what_is_frozen_has_no_gradients_and_no_moments():
    whole, part = count(), count(strategy="bottom_k", k=N_LAYERS - 1)
    assert (whole.gradients, whole.moments) == (whole.weights, 2 * whole.weights)
    assert part.weights == whole.weights
    assert part.gradients < whole.gradients / 2
    assert part.activations < whole.activations / 2


def test_weights_of_half_precision_take_half():
    assert count(precision="bf16-true").total == pytest.approx(count().total / 2, rel=0.05)
    assert count(precision="bf16-mixed").weights == count().weights


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_have_the_known_sizes(name):
    spec = EncoderSpec("m", name)
    assert count_parameters(find_config(spec), spec) == KNOWN[name]


def test_accumulated_batches_and_processes_share_the_batch(make_config):
    whole = estimate_memory(make_config("data.batch_size=16"), "32-true", is_gpu=False)
    parts = make_config("data.batch_size=16", "trainer.accumulate_grad_batches=2", "trainer.devices=2")
    quarter = estimate_memory(parts, "32-true", is_gpu=False)
    assert quarter.activations == pytest.approx(whole.activations / 4, rel=0.05)


def test_a_dry_run_says_what_the_largest_run_needs_and_in_which_precision(make_config):
    runs = [make_config(), make_config("data.batch_size=64"), make_config("freeze=bottom_k", "freeze.k=2")]
    (sentence,) = phrase_memory(runs)
    assert sentence.startswith("Memory: an estimate, not measured: about ")
    assert "in 32-true" in sentence
    assert "of activations (64 examples a step, 128 tokens the longest" in sentence
    assert "on a processor" in sentence
    (on_gpu,) = phrase_memory([make_config("trainer.accelerator=gpu", "trainer.precision=16-mixed")])
    assert "on a GPU in 16-mixed" in on_gpu
    assert phrase_memory([]) == []


def test_an_unknown_encoder_is_not_guessed(make_config, tmp_path):
    unknown = make_config("model=encoder", f"model.name_or_path={tmp_path}/none", "model.name=mine")
    assert phrase_memory([unknown]) == ["Memory: unknown: the encoder's configuration is not on this machine"]
