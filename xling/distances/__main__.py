"""``python -m xling.distances``: the command ``xling-distances`` for those who prefer to name the module."""

import sys

from xling.commands.distances import main

if __name__ == "__main__":
    sys.exit(main())
