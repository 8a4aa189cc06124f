"""The tasks that a run can be fine-tuned for. One class per kind of task holds everything that depends on the task.

A task checks the columns of its examples, learns its labels from the training examples unless they are given, tokenises, and
makes the LightningModule with its head and scores. The configuration of a data source names its task (``data.task`` in
conf/data), and no other code asks which task it is. A task of your own is a class with the methods of
:class:`xling.data.protocols.TaskData`. ``data.task._target_`` names it by its path, as ``package.module:Name``, or by a name in
the registry.
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
