"""What a run is fine-tuned for. One class per kind of task says everything that only the task knows.

A task checks the columns of its examples, learns its labels from the training examples unless they are given, tokenises, and
makes the LightningModule with its head and scores. Data sources name the task they feed (``data.task`` in conf/data); nothing
else asks which one it is. A further task is a class with the same methods, named as ``data.task._target_``.
"""

from xling.tasks.questions import QuestionAnswering
from xling.tasks.sentences import SentenceClassification
from xling.tasks.words import TokenClassification

__all__ = ["QuestionAnswering", "SentenceClassification", "TokenClassification"]
