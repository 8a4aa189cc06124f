"""Defines the heads, which turn the encoder's last hidden states into scores of classes, per example or per token."""

from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.models.pooling import get_pooling


class ClassificationHead(nn.Module):
    """One vector per example (by pooling, or by the encoder's pre-trained pooler), dropout, and a linear classifier.

    Args:
        hidden_size: width of the encoder.
        n_labels: number of classes.
        pooling: ``cls`` or ``mean``.
        dropout: probability before the classifier.
        pooler: the encoder's pre-trained pooler module taking hidden states [batch, sequence, hidden] (BERT: dense and
            tanh on the first token), as the paper's BertForSequenceClassification has it; needs `pooling` = cls.
        initializer_range: standard deviation of the classifier's initial weights.

    Raises:
        XlingValueError: a pooler is given, and `pooling` is not ``cls``.
    """

    def __init__(
        self,
        hidden_size: int,
        n_labels: int,
        *,
        pooling: str,
        dropout: float = 0.1,
        pooler: nn.Module | None = None,
        initializer_range: float = 0.02,
    ) -> None:
        super().__init__()
        if pooler is not None and pooling != "cls":
            raise XlingValueError(
                f"a pre-trained pooler reads the first token, pooling is {pooling!r}; set pooling=cls"
            )
        self.pool = get_pooling(pooling)
        self.pooler = pooler
        self.dropout = nn.Dropout(dropout)
        self.classifier = _linear(hidden_size, n_labels, initializer_range)

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Compute logits [batch, n_labels] from hidden states [batch, sequence, hidden] and mask [batch, sequence]."""
        pooled = self.pool(hidden_states, mask) if self.pooler is None else self.pooler(hidden_states)
        return self.classifier(self.dropout(pooled))


class TokenHead(nn.Module):
    """Dropout and a linear classifier on every token.

    Args:
        hidden_size: width of the encoder.
        n_labels: number of classes.
        dropout: probability before the classifier.
        initializer_range: standard deviation of the classifier's initial weights.
    """

    def __init__(
        self, hidden_size: int, n_labels: int, *, dropout: float = 0.1, initializer_range: float = 0.02
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = _linear(hidden_size, n_labels, initializer_range)

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Compute logits [batch, sequence, n_labels] from hidden states [batch, sequence, hidden]; `mask` is not used."""
        return self.classifier(self.dropout(hidden_states))


def refuse_pooler(pooler: nn.Module | None) -> None:
    """Refuse a pre-trained pooler where a head reads every token.

    Raises:
        XlingValueError: `pooler` is not None.
    """
    if pooler is not None:
        raise XlingValueError(
            "a pre-trained pooler reads the first token, and this task reads every one; set model.pooler=false"
        )


def _linear(hidden_size: int, n_labels: int, initializer_range: float) -> nn.Linear:
    layer = nn.Linear(hidden_size, n_labels)
    nn.init.normal_(layer.weight, std=initializer_range)
    nn.init.zeros_(layer.bias)
    return layer
