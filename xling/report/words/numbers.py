"""Prints numbers as a paper does: without a leading zero where they cannot exceed 1, and with few digits."""

import math

MINUS = "−"


def is_missing(value) -> bool:
    """Say whether `value` is None, NaN or pandas' NA."""
    return value is None or value != value or str(value) == "<NA>"


def coefficient(value: float, digits: int = 2) -> str:
    """Print a number in -1..1 without its leading zero; empty for NaN.

    >>> coefficient(-0.414), coefficient(0.0), coefficient(1.0), coefficient(float("nan"))
    ('−.41', '.00', '1.00', '')
    """
    if is_missing(value):
        return ""
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    return (MINUS if value < 0 and text.strip(".0") else "") + text


def fraction(value: float) -> str:
    """Print a score with two digits, as :func:`coefficient` does."""
    return coefficient(value, 2)


def percent(share: float) -> str:
    r"""Print a share of a whole, with a decimal below 10 %.

    >>> percent(0.0167), percent(0.41), percent(1.0)
    ('1.7\xa0%', '41\xa0%', '100\xa0%')
    """
    return f"{100 * share:.{1 if abs(share) < 0.0995 else 0}f}\xa0%"


def signed(value: float, digits: int = 3) -> str:
    """Print a difference with its sign always shown.

    >>> signed(0.01234), signed(-0.5)
    ('+.012', '−.500')
    """
    text = coefficient(value, digits)
    return text if not text or text.startswith(MINUS) else f"+{text}"


def p_value(value: float) -> str:
    r"""Print a p-value with its relation sign, held together by no-break spaces.

    >>> p_value(0.0312), p_value(0.0002), p_value(1.0), p_value(float("nan"))
    ('p\xa0=\xa0.031', 'p\xa0<\xa0.001', 'p\xa0=\xa01.000', 'p not available')
    """
    if is_missing(value):
        return "p not available"
    return "p\xa0<\xa0.001" if value < 0.001 else f"p\xa0=\xa0{coefficient(value, 3)}"


def interval(low: float, high: float, digits: int = 2) -> str:
    r"""Print a 95 % interval; empty where a bound is missing.

    >>> interval(-0.5, 0.25)
    '95\xa0%\xa0CI\xa0[−.50,\xa0.25]'
    """
    if is_missing(low) or is_missing(high):
        return ""
    return f"95\xa0%\xa0CI\xa0[{coefficient(low, digits)},\xa0{coefficient(high, digits)}]"


def cell(value) -> str:
    """Print any table cell: three significant digits for numbers, ``–`` where missing, ``yes``/``no`` for truth values.

    >>> [cell(v) for v in (0.12345, 14, None, True, "en", -0.00001, 1234.5)]
    ['0.123', '14', '–', 'yes', 'en', '−1.0e-05', '1234']
    """
    if is_missing(value):
        return "–"
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, float) or type(value).__name__.startswith("float"):
        return _decimal(float(value))
    return str(value)


def _decimal(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    text = f"{size:.1e}" if size < 5e-4 else f"{size:.3f}" if size < 100 else f"{size:.0f}"
    return (MINUS if value < 0 else "") + text


def plural(count: int, noun: str) -> str:
    """Print a count with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listing(words: list[str]) -> str:
    """Join words as in a sentence.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
