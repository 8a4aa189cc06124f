"""Where examples come from: one module per kind of file or hub."""

from xling.data.sources.choose import hub_or_files

__all__ = ["hub_or_files"]
