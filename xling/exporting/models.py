"""Builds the model of transformers that computes what a fine-tuned module computes."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from xling.errors import XlingValueError
from xling.exporting.modeling_xling import (
    XlingConfig,
    XlingForQuestionAnswering,
    XlingForSequenceClassification,
    XlingForTokenClassification,
)
from xling.models.config import config_of
from xling.models.encoders import quiet_transformers
from xling.models.pooling import first_token, masked_mean
from xling.tasks.heads import ClassificationHead
from xling.tasks.question_module import SpanClassifier
from xling.tasks.sentence_module import SequenceClassifier
from xling.tasks.transfer_module import TransferModule
from xling.tasks.word_module import TokenClassifier

_CLASSES: dict[type[TransferModule], tuple[Any, type[PreTrainedModel]]] = {
    SequenceClassifier: (AutoModelForSequenceClassification, XlingForSequenceClassification),
    TokenClassifier: (AutoModelForTokenClassification, XlingForTokenClassification),
    SpanClassifier: (AutoModelForQuestionAnswering, XlingForQuestionAnswering),
}
"""Kind of module -> transformers' class, and ours for architectures in which that has another head."""


def as_transformers_model(module: TransferModule) -> PreTrainedModel:
    """Make the model that gives `module`'s logits, with its weights.

    It is the architecture's own class (``BertForTokenClassification``) where that has the module's head: one linear map of every
    last hidden state, or of what the encoder's pooler gives; else a class of :mod:`xling.exporting.modeling_xling`.

    Raises:
        XlingValueError: the head or its pooling is of another package.
    """
    if type(module) not in _CLASSES:
        raise XlingValueError(
            f"expected a module of {', '.join(kind.__name__ for kind in _CLASSES)}, got {type(module).__name__}, whose head "
            "transformers has no class for; save its weights from the run's checkpoint"
        )
    stock, own = _CLASSES[type(module)]
    labels, pooling = list(module.label_names or ()), _pooling(module)
    encoder, head = _encoder_weights(module), dict(_classifier(module).state_dict())
    with quiet_transformers():
        model = None if pooling in ("mean", "cls") else _stock_model(stock, module, labels, encoder, head)
        if model is None:
            config = XlingConfig(encoder=_plain_config(module).to_dict(), pooling=pooling or "mean", **_names(labels))
            model = own(config)
            cast(Any, model).encoder.load_state_dict(encoder)
            cast(Any, model).classifier.load_state_dict(head)
    return model.float().eval()


def _stock_model(
    kind: Any, module: TransferModule, labels: Sequence[str], encoder: dict[str, Tensor], head: dict[str, Tensor]
) -> PreTrainedModel | None:
    """Build the architecture's own model with these weights; None where it has others beside them, or is none of this kind."""
    config = _plain_config(module)
    if type(config) not in kind._model_mapping:
        return None
    for name, value in _names(labels).items():
        setattr(config, name, value)
    model = kind.from_config(config)
    base, is_pooled = model.base_model, isinstance(module, SequenceClassifier)
    prefix = f"{model.base_model_prefix}."
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(prefix)}
    by_part = {name.rpartition(".")[2]: tensor.shape for name, tensor in own.items()}
    is_same_head = len(own) == 2 and by_part == {name: tensor.shape for name, tensor in head.items()}
    if not is_same_head or base.state_dict().keys() != encoder.keys() or (is_pooled and "pooler" not in dir(base)):
        return None
    base.load_state_dict(encoder)
    model.get_submodule(next(iter(own)).rpartition(".")[0]).load_state_dict(head)
    return model


def _pooling(module: TransferModule) -> str | None:
    """Find the pooling of a sentence's head, ``mean``, ``cls`` or ``pooler``; None where every token is classified."""
    head = module.head
    if not isinstance(head, ClassificationHead):
        return None
    if head.pooler is not None:
        return "pooler"
    names = {masked_mean: "mean", first_token: "cls"}
    if head.pool not in names:
        raise XlingValueError(
            f"expected pooling mean or cls, got {getattr(head.pool, '__name__', head.pool)}, which the exported code does not "
            "have; save the weights from the run's checkpoint"
        )
    return names[head.pool]


def _classifier(module: TransferModule) -> nn.Linear:
    return cast(nn.Linear, module.head.classifier)


def _encoder_weights(module: TransferModule) -> dict[str, Tensor]:
    """Take the encoder's weights, with its pooler where the head took it out."""
    pooler = getattr(module.head, "pooler", None)
    taken = {f"pooler.{name}": tensor for name, tensor in pooler.state_dict().items()} if pooler is not None else {}
    return dict(module.encoder.state_dict()) | taken


def _plain_config(module: TransferModule) -> PretrainedConfig:
    """Give the encoder's configuration as its folder had it, without what this process computes attention with."""
    config = config_of(module.encoder)
    values = {
        name: value for name, value in config.to_dict().items() if name != "_name_or_path"
    }  # a folder of this machine
    return type(config).from_dict(values)


def _names(labels: Sequence[str]) -> dict[str, Any]:
    """Name the classes; without any there are two scores per token."""
    if not labels:
        return {"num_labels": 2}
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
