"""Where the layers of each known architecture are: hooks give its hidden states, and every parameter has one layer."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertForSequenceClassification

from xling.errors import XlingValueError
from xling.models import EncoderSpec, load_encoder
from xling.models.layers import (
    ARCHITECTURES,
    check_layer,
    find_layers,
    layer_modules,
    layer_parameters,
    output_of,
)
from xling.models.tiny import N_LAYERS, TINY, tiny_config


def tiny(architecture: str) -> nn.Module:
    return load_encoder(EncoderSpec("tiny", architecture, weights="tiny"), "unused").eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.arange(5, 19).reshape(2, 7)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def hooked_outputs(module: nn.Module, encoder: nn.Module, override=None) -> list[tuple[int, torch.Tensor]]:
    kept = []
    hooks = [
        part.register_forward_hook(lambda _, __, output, layer=layer: kept.append((layer, output_of(output))))
        for layer, part in layer_modules(module, override)
    ]
    with torch.no_grad():
        encoder(**batch())
    for hook in hooks:
        hook.remove()
    return kept


def reference_hidden_states(encoder: nn.Module) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch(), output_hidden_states=True).hidden_states


def assert_same_states(hooked: list[tuple[int, torch.Tensor]], expected: tuple[torch.Tensor, ...]) -> None:
    assert [layer for layer, _ in hooked] == list(range(len(expected)))
    for (_, got), want in zip(hooked, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_every_known_architecture_has_a_tiny_model():
    assert set(ARCHITECTURES) == set(TINY)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hook_output_of_layer_i_is_hidden_state_i(architecture):
    encoder = tiny(architecture)
    expected = reference_hidden_states(encoder)
    assert len(expected) == N_LAYERS + 1
    assert_same_states(hooked_outputs(encoder, encoder), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_layer_is_what_the_encoder_returns(architecture):
    encoder = tiny(architecture)
    with torch.no_grad():
        returned = encoder(**batch())[0]
    torch.testing.assert_close(hooked_outputs(encoder, encoder)[-1][1], returned, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_belongs_to_exactly_one_layer(architecture):
    encoder = tiny(architecture)
    owned = [parameter for layer in range(N_LAYERS + 1) for _, parameter in layer_parameters(encoder, layer)]
    assert len(owned) == len(set(owned))
    assert set(owned) == set(encoder.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_word_embeddings_are_the_input_embeddings(architecture):
    encoder = tiny(architecture)
    table = encoder.get_submodule(find_layers(encoder).word_embeddings)
    assert table.weight is encoder.get_input_embeddings().weight


def test_deberta_with_convolution_puts_layer_1_after_it():
    config = tiny_config("deberta-v2")
    config.conv_kernel_size, config.conv_act = 3, "gelu"
    encoder = AutoModel.from_config(config).eval()
    assert find_layers(encoder).outputs[1] == "encoder.conv"
    assert_same_states(hooked_outputs(encoder, encoder), reference_hidden_states(encoder))


def test_encoder_is_found_inside_other_modules():
    encoder = tiny("bert")
    outer = nn.ModuleDict({"head": nn.Linear(2, 2), "inner": nn.ModuleDict({"encoder": encoder})})
    assert find_layers(outer).outputs[1] == "inner.encoder.encoder.layer.0"
    assert_same_states(hooked_outputs(outer, encoder), reference_hidden_states(encoder))


def test_encoder_is_found_inside_a_transformers_task_model():
    model = BertForSequenceClassification(tiny_config("bert"))
    assert find_layers(model).outputs[0] == "bert.embeddings"
    assert find_layers(model).n_layers == N_LAYERS


def test_override_finds_an_unknown_architecture():
    encoder = tiny("llama")
    encoder.config.model_type = "unheard-of"
    override = {"embeddings": "embed_tokens", "blocks": "layers", "final_norm": "norm"}
    expected = reference_hidden_states(encoder)
    assert_same_states(hooked_outputs(nn.ModuleList([encoder]), encoder, override), expected)


def test_override_may_leave_out_the_final_norm():
    override = {"embeddings": "embeddings", "blocks": "encoder.layer"}
    assert find_layers(tiny("bert"), override) == find_layers(tiny("bert"))


def test_unknown_architecture_names_the_known_and_the_remedy():
    encoder = tiny("bert")
    encoder.config.model_type = "unheard-of"
    with pytest.raises(XlingValueError, match=r"layers of unheard-of are not known.*bert.*model\.layers"):
        find_layers(encoder)


def test_module_without_an_encoder_is_refused():
    with pytest.raises(XlingValueError, match="layers of Linear are not known"):
        find_layers(nn.Linear(2, 2))


def test_override_with_paths_that_do_not_exist_is_refused():
    with pytest.raises(XlingValueError, match=r"no module inside BertModel has the paths.*blocks.*see named_modules"):
        find_layers(tiny("bert"), {"embeddings": "embeddings", "blocks": "encoder.blocks"})


@pytest.mark.parametrize("override", [{"blocks": "encoder.layer"}, {"embeddings": "a", "blocks": "b", "norm": "c"}])
def test_override_with_wrong_keys_is_refused(override):
    with pytest.raises(XlingValueError, match=r"expected model\.layers to have embeddings, blocks, final_norm, got"):
        find_layers(tiny("bert"), override)


@pytest.mark.parametrize("layer", [-1, 13, 1.0, True, "1"])
def test_layer_out_of_range_names_the_range(layer):
    with pytest.raises(XlingValueError, match=r"does not exist: expected a whole number from 0 \(embeddings\) to 12"):
        check_layer(layer, 12)


def test_layer_parameters_refuse_a_layer_that_does_not_exist():
    with pytest.raises(XlingValueError, match="layer 4 does not exist"):
        layer_parameters(tiny("bert"), N_LAYERS + 1)


def test_output_of_takes_the_first_of_a_tuple():
    states = torch.zeros(1)
    assert output_of((states, None)) is states
    assert output_of(states) is states
