"""Runs the short commands: a user's error becomes one sentence on stderr, and a warning about distances one line."""

import sys
import warnings
from collections.abc import Callable

from xling.distances import DistanceWarning
from xling.errors import XlingError


def run_and_tell(action: Callable[[], None], tell: Callable[[str], None] | None = None) -> int:
    """Run the work of a command, and turn its errors into a sentence and an exit status.

    Args:
        action: function that does the work, and prints the command's output.
        tell: function that is given each line about a warning; None: the lines go to stderr.

    Returns:
        Exit status: 0, or 1 after an error, which is printed on stderr in one sentence.
    """
    tell = tell or (lambda line: print(line, file=sys.stderr))
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DistanceWarning)
        warnings.showwarning = lambda message, *_: tell(f"warning: {message}")
        try:
            action()
        except XlingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0
