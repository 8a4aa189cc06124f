"""What turns pooled representations into class scores."""

from torch import Tensor, nn

from xling.errors import XlingValueError
from xling.pooling import get_pooling


class ClassificationHead(nn.Module):
    """Pool, (project by the pre-trained pooler,) drop out, classify.

    Args:
        hidden_size: width of the encoder.
        n_labels: number of classes.
        pooling: ``cls`` or ``mean``.
        dropout: probability before the classifier.
        pooler: the encoder's pre-trained pooler module taking hidden states [batch, sequence, hidden] (BERT: dense and
            tanh on the first token), as the paper's BertForSequenceClassification has it; needs `pooling` = cls.
        initializer_range: standard deviation of the classifier's initial weights.

    Raises:
        XlingValueError: a pooler with another pooling than ``cls``.
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
        self.classifier = nn.Linear(hidden_size, n_labels)
        nn.init.normal_(self.classifier.weight, std=initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """[batch, sequence, hidden], [batch, sequence] -> logits [batch, n_labels]."""
        pooled = self.pool(hidden_states, mask) if self.pooler is None else self.pooler(hidden_states)
        return self.classifier(self.dropout(pooled))
