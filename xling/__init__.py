"""xling: how fine-tuning on one language moves the representation space of every other.

Importing this package is quick and downloads nothing; sub-modules are imported where they are used.
"""

__version__ = "0.1.0"
