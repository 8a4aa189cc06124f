"""Training the used rows of a word-piece table against training all of them."""

import pytest
import pytorch_lightning as pl
import torch
from strangers import make_trainer
from torch import nn

import xling.training.parts
from xling.callbacks import TrainUsedRows
from xling.commands.train import train
from xling.errors import XlingValueError
from xling.models.fast.used_rows import UsedRowsEmbedding

WORDS = "encoder.embeddings.word_embeddings.weight"
T5_WORDS = "encoder.encoder.embed_tokens.weight"


@pytest.fixture
def tables():
    torch.manual_seed(0)
    plain = nn.Embedding(50, 8, padding_idx=0)
    other = nn.Embedding(50, 8, padding_idx=0)
    other.load_state_dict(plain.state_dict())
    return plain, UsedRowsEmbedding(other, [7, 3, 44])


def steps(table, n=5):
    head = nn.Linear(8, 1, bias=False)
    nn.init.ones_(head.weight)
    parameters = [parameter for parameter in table.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.0)
    for step in range(n):
        optimizer.zero_grad()
        head(table(torch.tensor([[3, 7, 44, 0], [7, 7, 3 + 41 * (step % 2), 0]]))).square().sum().backward()
        optimizer.step()
    return optimizer


def test_adamw_moves_the_used_rows_alike_and_no_others(tables):
    plain, part = tables
    before = plain.weight.detach().clone()
    steps(plain)
    optimizer = steps(part)
    assert torch.equal(part.state_dict()["weight"], plain.weight)
    assert not torch.equal(plain.weight[3], before[3])
    assert torch.equal(plain.weight[8:44], before[8:44])
    assert [list(state["exp_avg"].shape) for state in optimizer.state.values()] == [[4, 8]]


def test_outside_training_every_row_is_found(tables):
    plain, part = tables
    steps(plain)
    steps(part)
    every = torch.arange(50).view(5, 10)
    with torch.inference_mode():
        assert torch.equal(part(every), plain(every))
    part.eval()
    assert torch.equal(part(every), plain(every))


def test_a_piece_that_training_did_not_announce_is_an_error(tables):
    with pytest.raises(IndexError):
        tables[1](torch.tensor([3, 8]))


def test_states_and_put_back_tables_are_plain(tables):
    plain, part = tables
    steps(plain)
    assert part.state_dict().keys() == plain.state_dict().keys()
    part.load_state_dict(plain.state_dict())
    assert torch.equal(part.rows, plain.weight[part.used])
    back = part.plain()
    assert type(back) is nn.Embedding
    assert back.weight.requires_grad
    assert torch.equal(back.weight, plain.weight)
    with pytest.raises(RuntimeError, match="size mismatch"):
        part.load_state_dict({"weight": torch.zeros(49, 8)})


def checkpoint_of(config):
    return torch.load(train(config).checkpoint, weights_only=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((), WORDS),
        (("model.name_or_path=umt5",), T5_WORDS),  # one table under two names
        pytest.param(("freeze=bottom_k", "freeze.k=1"), WORDS, marks=pytest.mark.slow),
        pytest.param(("freeze=word_embeddings",), WORDS, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_ends_with_the_weights_it_has_without(make_config, monkeypatch, settings, words):
    used = checkpoint_of(make_config("study=used", *settings))
    monkeypatch.setattr(xling.training.parts, "shards_parameters", lambda settings: True)
    plain = checkpoint_of(make_config("study=plain", *settings))
    assert used["state_dict"].keys() == plain["state_dict"].keys()
    for name, value in plain["state_dict"].items():
        torch.testing.assert_close(used["state_dict"][name], value, atol=2e-6, rtol=1e-4)
    n_rows = [len(state["state_dict"][words]) for state in (used, plain)]
    optimizers = [saved["optimizer_states"][0] for saved in (used, plain)]
    shapes = [{len(state["exp_avg"]) for state in optimizer["state"].values()} for optimizer in optimizers]
    assert n_rows[0] == n_rows[1]
    assert (n_rows[0] in shapes[1]) is not any(setting.startswith("freeze") for setting in settings)
    assert n_rows[0] not in shapes[0]
    for optimizer in optimizers:  # a parameter without gradient has no state, and stops several processes
        assert len(optimizer["state"]) == len(optimizer["param_groups"][0]["params"])


def test_weight_decay_moves_every_row_and_is_not_overlooked(make_config, tmp_path):
    saved = checkpoint_of(make_config("optimizer.weight_decay=0.1"))
    assert len(saved["state_dict"][WORDS]) in {
        len(s["exp_avg"]) for s in saved["optimizer_states"][0]["state"].values()
    }


class Decays(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 2)

    def training_step(self, batch, batch_idx):
        return self.words(batch).sum()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), weight_decay=0.1)


def test_a_foreign_module_whose_optimiser_decays_is_refused_and_left_plain(tmp_path):
    module = Decays()
    trainer = make_trainer(tmp_path, [TrainUsedRows(lambda: [1, 2], "words")])
    with pytest.raises(XlingValueError, match=r"weight decay of 0.1 moves every row of words; set it to 0"):
        trainer.fit(module, torch.utils.data.DataLoader([torch.tensor([1, 2])]))
    assert type(module.words) is nn.Embedding


class Tied(pl.LightningModule):
    """A language model whose output layer is the table itself, as that of BERT and of most decoders."""

    def __init__(self):
        super().__init__()
        self.words, self.decoder = nn.Embedding(9, 4), nn.Linear(4, 9)
        self.decoder.weight = self.words.weight

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.decoder(self.words(batch)), batch.flip(0))

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=0.1, weight_decay=0.0)


def test_a_table_that_a_head_shares_trains_as_without_and_stays_tied(tmp_path):
    states = []
    for callbacks in ([], [TrainUsedRows(lambda: range(1, 5), "words")]):
        torch.manual_seed(0)
        module, data = Tied(), torch.utils.data.DataLoader(torch.arange(1, 5), batch_size=2)
        make_trainer(tmp_path, callbacks, max_epochs=3).fit(module, data)
        assert module.decoder.weight is module.words.weight
        states.append(module.state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


class TwoNames(Decays):
    """One table as two embeddings, one of which has two names."""

    def __init__(self):
        super().__init__()
        self.others = nn.ModuleDict({"a": nn.Embedding(9, 2), "b": self.words})
        self.others["a"].weight = self.words.weight


def test_embeddings_that_share_a_table_share_its_rows():
    module = TwoNames()
    before = module.state_dict()
    callback = TrainUsedRows(lambda: [1, 2], "words")
    callback.setup(None, module, "fit")
    assert [name for name, parameter in module.named_parameters() if parameter.requires_grad] == ["words.rows"]
    assert module.state_dict().keys() == before.keys()
    module.load_state_dict({name: torch.ones(9, 2) for name in before})
    assert torch.equal(module.words.rows, torch.ones(2, 2))
    callback.teardown(None, module, "fit")
    assert type(module.words) is nn.Embedding
    assert module.others["a"].weight is module.others["b"].weight is module.words.weight
    assert module.state_dict().keys() == before.keys()
