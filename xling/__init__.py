"""xling: how fine-tuning on one language moves the representation space of every other.

Importing this package is quick and downloads nothing; sub-modules are imported where they are used.
"""

from xling.moved import answer_old_imports

__version__ = "0.2.0"

answer_old_imports()


def __getattr__(name: str):
    """Give ``xling.load_study`` and ``xling.Study`` without importing pandas before they are used."""
    if name in ("load_study", "Study"):
        import xling.runs.study

        return getattr(xling.runs.study, name)
    raise AttributeError(f"module 'xling' has no attribute {name!r}")
