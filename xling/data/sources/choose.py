"""Chooses between a data set's hub and local files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xling.data.protocols import ExampleSource
from xling.data.sources.files import FileSource
from xling.data.sources.hub_sets import HubSource


def hub_or_files(root: str | Path | None, hub: Mapping[str, Any], local: Mapping[str, Any]) -> ExampleSource:
    """Read from local files where a folder is given, from the hub otherwise.

    Args:
        root: folder with the files; None: read from the hub.
        hub: arguments of :class:`xling.data.sources.hub_sets.HubSource`.
        local: arguments of :class:`xling.data.sources.files.FileSource` besides `root`.
    """
    return HubSource(**hub) if root is None else FileSource(root, **local)
