"""For the documentation site alone: links of a page to files of the repository outside docs/ become their paths."""

import re


def on_page_markdown(markdown: str, page, **_) -> str:
    """Called by MkDocs with the text of every page."""
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _name, markdown)


def _name(link: re.Match) -> str:
    text, path = link.groups()
    return text if path in text else f"{text} (`{path}`)"
