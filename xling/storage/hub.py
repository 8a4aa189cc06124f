"""Asking the Hugging Face hub briefly, whatever HTTP library its client uses."""

import importlib
import importlib.util

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

TIMEOUT_S = 5.0
"""Seconds to wait for the hub's first answer; its client alone would retry for 23 s where there is no network."""


def unreachable_errors() -> tuple[type[Exception], ...]:
    """What no answer looks like: huggingface_hub has changed its HTTP library twice, so take those installed."""
    names = {"httpx2": "TransportError", "httpx": "TransportError", "requests": "ConnectionError"}
    found = (name for name in names if importlib.util.find_spec(name))
    transport = (getattr(importlib.import_module(name), names[name]) for name in found)
    return (*transport, ConnectionError, TimeoutError, HfHubHTTPError, LocalEntryNotFoundError)
