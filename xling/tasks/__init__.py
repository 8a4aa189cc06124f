"""What a run is fine-tuned for. One class per kind of task says everything that only the task knows.

A task checks the columns of its examples, learns its labels from the training examples unless they are given, tokenises, and
makes the LightningModule with its head and scores. Data sources name the task they feed (``data.task`` in conf/data); nothing
else asks which one it is. A further task is a class with the methods of :class:`xling.data.protocols.TaskData`, named as
``data.task._target_``: by its path, as ``package.module:Name``, or by a name of the registry.
"""

from collections.abc import Callable

from xling.data.protocols import TaskData
from xling.registry import Registry
from xling.tasks.questions import QuestionAnswering
from xling.tasks.sentences import SentenceClassification
from xling.tasks.words import TokenClassification

__all__ = ["TASKS", "QuestionAnswering", "SentenceClassification", "TokenClassification"]

TASKS: Registry[Callable[..., TaskData]] = Registry(
    "task",
    "xling.tasks",
    {"sentences": SentenceClassification, "words": TokenClassification, "questions": QuestionAnswering},
)
"""By name; other packages add theirs as entry points of the group ``xling.tasks``."""
