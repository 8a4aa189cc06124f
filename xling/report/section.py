"""Defines the parts of a page: sections with their figures and tables."""

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: file name without ending, which is also the figure's anchor.
        figure: the figure itself.
        alt: text for readers who cannot see the figure.
        caption: text that says what the figure shows, with n and the meaning of marks.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


MOST_ROWS = 1000
"""Largest number of rows that a page shows. A longer table becomes a link to its CSV, since nobody reads it on a page and a browser
takes seconds to lay it out."""


@dataclass(frozen=True)
class Sheet:
    """A table of the page.

    Attributes:
        name: name of the analysis's table that it was taken from, i.e. the file under ``tables/``.
        frame: the rows and columns that are shown.
        caption: text that says what the table holds.
        is_folded: whether it is shown only after a click.
    """

    name: str
    frame: pd.DataFrame
    caption: str
    is_folded: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether the table is too long for the page, which then links to its file."""
        return bool(self.name) and len(self.frame) > MOST_ROWS


@dataclass(frozen=True)
class Section:
    """A section of the page: text first, then figures, then tables.

    Attributes:
        key: anchor of the section.
        title: heading of the section.
        paragraphs: paragraphs of plain text.
        pictures: figures in order.
        sheets: tables in order.
        points: entries of a list below the figures.
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
