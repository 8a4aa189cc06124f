"""The parts a page is made of."""

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: file name without ending, also its anchor.
        figure: what is drawn.
        alt: what a reader who cannot see it should know.
        caption: what it shows, with n and what the marks mean.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


MOST_ROWS = 1000
"""A longer table is a link to its CSV: nobody reads it on a page, and a browser takes seconds to lay it out."""


@dataclass(frozen=True)
class Sheet:
    """A table of the page.

    Attributes:
        name: table of the analysis it was taken from, i.e. the file under ``tables/``.
        frame: what is shown, already cut to the columns worth reading.
        caption: what it holds.
        is_folded: shown only after a click.
    """

    name: str
    frame: pd.DataFrame
    caption: str
    is_folded: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether the table is too long for the page and stands in a file beside it."""
        return bool(self.name) and len(self.frame) > MOST_ROWS


@dataclass(frozen=True)
class Section:
    """A section of the page: text first, then figures, then tables.

    Attributes:
        key: anchor.
        title: heading.
        paragraphs: plain text.
        pictures: figures in order.
        sheets: tables in order.
        points: a list below the figures.
        references: keys of :data:`xling.report.words.references.REFERENCES` that the text cites.
    """

    key: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Absent:
    """A section that cannot be written, and why."""

    title: str
    reason: str
