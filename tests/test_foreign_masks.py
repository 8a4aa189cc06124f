"""Which positions of a layer count: padding masks, those of decoders, and what is refused."""

from dataclasses import dataclass

import pytest
import torch
from foreign import fit_by_default
from one_layer import stored
from strangers import MaskedTagger, Stranger, Tagger
from torch.utils.data import DataLoader
from transformers import T5Config, T5Model

from xling.callbacks import ImpactMonitor, RepresentationWriter
from xling.errors import XlingValueError
from xling.models.pooling import masked_mean
from xling.probing.representations import load_representations

MASKS = {
    "additive": (lambda mask: (1.0 - mask) * -10000.0, r"expected attention_mask to hold 0 and 1 alone, got values from -10000"),
    "with infinities": (lambda mask: torch.where(mask.bool(), 0.0, -torch.inf), "got values from -inf to 0"),
    "segments": (lambda mask: mask * 2, "got values from 0 to 2"),
    "inverted": (lambda mask: 1 - mask, r"attention_mask counts no position of row \d, as an inverted mask|looks inverted"),
    "inverted, of truth values": (lambda mask: ~mask.bool(), "as an inverted mask|looks inverted"),
    "extended": (lambda mask: mask[None, None], r"expected attention_mask to be a mask \[batch, sequence\], got \[8, 1, 1, 7\]"),
    "causal": (lambda mask: mask[None] * mask[:, None], r"got \[8, 7, 7\]"),
    "longer": (lambda mask: torch.cat([mask, mask]), r"layer layer_00: the mask is \[8, 14\] and the output \[8, 7, 16\]"),
    "shorter": (lambda mask: mask[:3], r"the mask is \[8, 3\] and the output \[8, 7, 16\], of which 16 are features"),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_what_is_no_padding_mask_is_refused(name, tmp_path):
    change, message = MASKS[name]
    with pytest.raises(XlingValueError, match=message):
        fit_by_default(MaskedTagger(change), tmp_path, [ImpactMonitor()])


def test_an_inverted_mask_is_found_even_where_no_sentence_is_full(tmp_path):
    class Padded(MaskedTagger):
        def data(self, n=40):
            rows = super().data(n)
            for row in rows:
                for name in ("input_ids", "attention_mask", "right", "tags"):
                    fill = row["attention_mask"].new_full((3,), int(name == "attention_mask"))
                    row[name] = torch.cat([row[name], 0 * fill if name != "attention_mask" else fill])
            return rows

    with pytest.raises(XlingValueError, match="attention_mask looks inverted: it keeps token 0 alone"):
        fit_by_default(Padded(lambda mask: 1 - mask), tmp_path, [ImpactMonitor()])


def test_a_mask_that_is_not_needed_is_not_looked_at(tmp_path):
    monitor = ImpactMonitor(pooling="flatten")
    fit_by_default(MaskedTagger(lambda mask: mask * -1.0), tmp_path, [monitor])
    assert monitor.records[-1]["impact"] > 0


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_masks_of_0_and_1_of_any_type_will_do(kind, tmp_path):
    monitors = [ImpactMonitor(), ImpactMonitor()]
    for number, monitor in enumerate(monitors):
        torch.manual_seed(0)
        fit_by_default(
            MaskedTagger(lambda mask, n=number: mask.to(kind) if n else mask), tmp_path / str(number), [monitor]
        )
    assert [r["impact"] for r in monitors[0].records] == [r["impact"] for r in monitors[1].records]


def test_a_module_says_itself_what_its_layers_count(tmp_path):
    class Says(MaskedTagger):
        def padding_mask(self, batch, layer):
            return None if layer == "layer_00" else batch["right"]

    module = Says(lambda mask: mask * -1.0)
    writer = RepresentationWriter(tmp_path / "rows", dtype="float32")
    fit_by_default(module, tmp_path, [writer])
    rows = load_representations(tmp_path / "rows" / "step_000010" / "0.safetensors").layers
    module.eval()
    batch = next(iter(DataLoader(module.data(26), 26)))
    with torch.no_grad():
        hidden = module.encoder(batch["input_ids"], attention_mask=batch["right"], output_hidden_states=True)[1]
    torch.testing.assert_close(rows["layer_00"], hidden[0].mean(dim=1), atol=1e-5, rtol=1e-5)
    weights = batch["right"].float()[..., None]
    torch.testing.assert_close(rows["layer_02"], (hidden[2] * weights).sum(1) / weights.sum(1), atol=1e-5, rtol=1e-5)


def test_batches_with_attributes_have_masks_too(tmp_path):
    @dataclass
    class Batch:
        input_ids: torch.Tensor
        attention_mask: torch.Tensor
        tags: torch.Tensor

        def __getitem__(self, name):
            raise TypeError("no mapping")

    class ByAttribute(Tagger):
        def loss(self, batch):
            return super().loss(vars(batch))

    def collate(rows):
        return Batch(**torch.utils.data.default_collate(rows))

    impacts = []
    for module, options in ((Tagger, {}), (ByAttribute, {"collate_fn": collate})):
        torch.manual_seed(0)
        module, monitor = module(), ImpactMonitor()
        loaders = (DataLoader(module.data(n), 8, **options) for n in (26, 40))
        fit_by_default(module, tmp_path / type(module).__name__, [monitor], *loaders)
        impacts.append([record["impact"] for record in monitor.records])
    assert impacts[0] == impacts[1]


def test_the_first_token_must_not_be_padding(tmp_path):
    class PadsLeft(Tagger):
        def data(self, n=40):
            return [{name: value.flip(0) for name, value in row.items()} for row in super().data(n)]

    with pytest.raises(XlingValueError, match="layer layer_00: its first position is padding in some rows"):
        fit_by_default(PadsLeft(), tmp_path, [ImpactMonitor(pooling="cls")])


class Translator(Stranger):
    """An encoder-decoder whose two sides are equally long, so that no size tells one mask from the other."""

    def __init__(self):
        super().__init__()
        self.model = T5Model(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))

    def loss(self, batch):
        self.forwards += 1
        names = ("input_ids", "attention_mask", "decoder_input_ids")
        return self.model(**{name: batch[name] for name in names})[0].square().mean()

    def data(self, n=40):
        generator = torch.Generator().manual_seed(1)
        masks = [(torch.arange(6) < torch.randint(2, 7, (n, 1), generator=generator)).long() for _ in range(2)]
        ids = [torch.randint(1, 20, (n, 6), generator=generator) * mask for mask in masks]
        names = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
        return [dict(zip(names, row, strict=True)) for row in zip(ids[0], masks[0], ids[1], masks[1], strict=True)]


def test_a_decoder_is_averaged_over_its_own_mask(tmp_path):
    module = Translator()
    rows = stored(module, tmp_path, "model.decoder.block.0", DataLoader(module.data(26), 8), feature_axis=-1)
    module.eval()
    batch = next(iter(DataLoader(module.data(26), 26)))
    kept = []
    module.model.decoder.block[0].register_forward_hook(lambda _, __, output: kept.append(output[0]))
    with torch.no_grad():
        module.loss(batch)
    weights = batch["decoder_attention_mask"].float()[..., None]
    torch.testing.assert_close(rows, (kept[0] * weights).sum(1) / weights.sum(1), atol=1e-5, rtol=1e-5)


def test_a_decoder_is_not_averaged_over_the_encoders_mask(tmp_path):
    class NoMask(Translator):
        def data(self, n=40):
            rows = super().data(n)
            return [{name: row[name] for name in row if name != "decoder_attention_mask"} for row in rows]

    with pytest.raises(
        XlingValueError, match=r"layer model.decoder.block.0 is in the decoder.*padding_mask\(batch, layer\)"
    ):
        fit_by_default(NoMask(), tmp_path, [ImpactMonitor(["model.decoder.block.0"], feature_axis=-1)])


def test_the_mean_itself_refuses_other_shapes_and_masks():
    with pytest.raises(XlingValueError, match=r"expected 2 to 4 axes to average over, got \[2, 3, 4, 5, 6\]"):
        masked_mean(torch.zeros(2, 3, 4, 5, 6))
    with pytest.raises(XlingValueError, match=r"the mask is \[2, 4\] and the hidden states are \[2, 3, 5\]"):
        masked_mean(torch.zeros(2, 3, 5), torch.ones(2, 4))
