"""Refuses passwords in the settings of loggers, because every run records its settings."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xling.errors import XlingValueError

_USER = re.compile(r"\w+://[^/?#\s]*:[^/?#\s]*@")
_QUERY = re.compile(r"[?&;](?:api_?key|access_?token|auth|key|passw(?:or)?d|pwd|secret|token)=[^&;]", re.IGNORECASE)
_SETTING = re.compile(r"(?:api_?key|passw(?:or)?d|pwd|secret|token)$", re.IGNORECASE)


def refuse_passwords(loggers: Mapping[str, Any]) -> None:
    """Refuse settings of loggers that hold a password or a key; the message does not repeat it.

    Args:
        loggers: name of each logger -> its settings.

    Raises:
        XlingValueError: an address has ``user:password@`` or a key in its query, or a setting is a password by its name.
    """
    for name, value in _texts(loggers, "logger"):
        if _USER.search(value) or _QUERY.search(value) or (_SETTING.search(name) and value):
            raise XlingValueError(
                f"expected {name} without a password, since every run records its settings; give it to the logger by the "
                "environment instead: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN), "
                "WANDB_API_KEY"
            )


def _texts(node: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(value, f"{name}.{key}")
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value, name)
    elif isinstance(node, str):
        yield name, node
