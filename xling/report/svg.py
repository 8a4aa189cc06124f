"""Makes drawings small enough for a page, since matplotlib writes six decimals and repeats the colours of every point."""

import re
from collections import Counter
from urllib.parse import quote

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_PLACES = re.compile(r'\b(?:d|x|y)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")
_LINES = re.compile(r"([ML] \S+ \S+)((?: L \S+ \S+)+)")
_GROUP = re.compile(r'<g id="[^"]*"')
_STYLE = re.compile(r' style="([^"]*)"')
_END_OF_STYLES = "</style>"
_SAFE = " =:/;,.()*!-_~@$+?'"


def compact(svg: str) -> str:
    """Shorten an SVG document of matplotlib's without a difference that an eye could see.

    Coordinates keep two decimals of a point (1/7200 inch). The command of a line is not repeated for the next line. Styles that
    occur again become classes. Comments, line ends and the names of groups, to which nothing refers, are removed.

    >>> compact('<svg><style>*{}</style><path d="M 1.23456 2.5" style="fill: red"/><path d="M 0 0" style="fill: red"/></svg>')
    '<svg><style>*{}.s0{fill: red}</style><path d="M 1.23 2.5" class="s0"/><path d="M 0 0" class="s0"/></svg>'
    """
    svg = _COMMENT.sub("", svg)
    svg = _GROUP.sub("<g", svg)
    svg = _PLACES.sub(_short, svg)
    head, end, body = svg.partition(_END_OF_STYLES)
    counts = Counter(_STYLE.findall(body))
    names = {style: f"s{number}" for number, style in enumerate(style for style, n in counts.items() if n > 1)}
    body = _STYLE.sub(lambda style: f' class="{names[style[1]]}"' if style[1] in names else style[0], body)
    classes = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return " ".join(f"{head}{classes}{end}{body}".split())


def _short(place: re.Match[str]) -> str:
    text = " ".join(_DIGITS.sub(r"\1", place.group()).split())
    return _LINES.sub(lambda lines: lines[1] + lines[2].replace(" L", ""), text)


def data_uri(svg: str) -> str:
    """Put an SVG document into an address that an image can carry inside the page; shorter than in base64."""
    short = compact(svg)
    if "'" not in short:
        short = short.replace('"', "'")  # which needs no escape
    return "data:image/svg+xml," + quote(short, safe=_SAFE)
