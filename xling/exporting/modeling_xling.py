"""A multilingual encoder under the head that xling fine-tunes, as transformers' own kind of model.

xling exports runs whose head no class of transformers has, such as the mean over all tokens, with a copy of this file; it needs
transformers alone. Load such a folder with ``AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)``.
"""

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class XlingConfig(PretrainedConfig):
    """An encoder's configuration and its head's.

    Args:
        encoder: configuration of the encoder, or its values with ``model_type``.
        pooling: ``mean`` over the tokens that are no padding, ``cls``, the first token, or ``pooler``, the encoder's
            pre-trained pooler of the first token; sentence classification alone reads it.
        settings: further ones of transformers, such as ``id2label``.
    """

    model_type = "xling"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012  (transformers reads it so)

    def __init__(self, encoder=None, pooling="mean", **settings):
        values = dict(encoder) if isinstance(encoder, dict) else {"model_type": "bert"}
        is_config = isinstance(encoder, PretrainedConfig)
        self.encoder = encoder if is_config else AutoConfig.for_model(values.pop("model_type"), **values)
        self.pooling = pooling
        super().__init__(**settings)


class _Model(PreTrainedModel):
    """Encoder, dropout and one linear map."""

    config_class = XlingConfig
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config):
        super().__init__(config)
        is_listed = type(config.encoder) in AutoModelForTextEncoding._model_mapping  # which of T5 has the encoder alone
        kind = AutoModelForTextEncoding if is_listed else AutoModel
        self.encoder = kind.from_config(config.encoder)
        if config.pooling != "pooler" and hasattr(self.encoder, "pooler"):
            self.encoder.pooler = None
        self.dropout = nn.Dropout(0.1)  # as in the head that was trained, for those who train on; evaluation has none
        self.classifier = nn.Linear(config.encoder.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.encoder.get_input_embeddings()

    def _encode(self, input_ids, attention_mask, token_type_ids, inputs):
        if token_type_ids is not None:  # not every architecture takes them
            inputs = inputs | {"token_type_ids": token_type_ids}
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **inputs)


class XlingForSequenceClassification(_Model):
    """Classify a text or a pair of texts by a linear map of its pooled last hidden states."""

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, return_dict=True, **inputs):
        """[batch, sequence] token ids -> logits [batch, n_labels]."""
        attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        outputs = self._encode(input_ids, attention_mask, token_type_ids, inputs)
        logits = self.classifier(self.dropout(self._pool(outputs[0], attention_mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        result = SequenceClassifierOutput(loss, logits, outputs.get("hidden_states"), outputs.get("attentions"))
        return result if return_dict else result.to_tuple()

    def _pool(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        if self.config.pooling == "pooler":
            return self.encoder.pooler(hidden_states)
        if self.config.pooling == "cls":
            return hidden_states[:, 0]
        weights = attention_mask.to(hidden_states.dtype)
        weights = weights / weights.sum(dim=1, keepdim=True)
        return torch.bmm(weights.unsqueeze(1), hidden_states).squeeze(1)


class XlingForTokenClassification(_Model):
    """Classify every token by a linear map of its last hidden state."""

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, return_dict=True, **inputs):
        """[batch, sequence] token ids -> logits [batch, sequence, n_labels]."""
        outputs = self._encode(input_ids, attention_mask, token_type_ids, inputs)
        logits = self.classifier(self.dropout(outputs[0]))
        loss = None if labels is None else nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        result = TokenClassifierOutput(loss, logits, outputs.get("hidden_states"), outputs.get("attentions"))
        return result if return_dict else result.to_tuple()


class XlingForQuestionAnswering(_Model):
    """Score every token for being the first and the last of the answer."""

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, return_dict=True, **inputs):
        """[batch, sequence] token ids -> two logits per token, each [batch, sequence]."""
        outputs = self._encode(input_ids, attention_mask, token_type_ids, inputs)
        first, last = self.classifier(self.dropout(outputs[0])).unbind(dim=-1)
        result = QuestionAnsweringModelOutput(
            None, first.contiguous(), last.contiguous(), outputs.get("hidden_states"), outputs.get("attentions")
        )
        return result if return_dict else result.to_tuple()


XlingConfig.register_for_auto_class()
XlingForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
XlingForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
XlingForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
