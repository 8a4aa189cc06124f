"""Limits how long the Hugging Face hub is waited for, and knows the errors of every HTTP library that its client may use."""

import importlib
import importlib.util

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

TIMEOUT_S = 5.0
"""Seconds to wait for the hub's first answer; its client by itself would retry for 23 s where there is no network."""


def unreachable_errors() -> tuple[type[Exception], ...]:
    """List the errors that mean that the hub does not answer.

    huggingface_hub has changed its HTTP library twice, so that the errors of all installed ones are taken.
    """
    names = {"httpx2": "TransportError", "httpx": "TransportError", "requests": "ConnectionError"}
    found = (name for name in names if importlib.util.find_spec(name))
    transport = (getattr(importlib.import_module(name), names[name]) for name in found)
    return (*transport, ConnectionError, TimeoutError, HfHubHTTPError, LocalEntryNotFoundError)
