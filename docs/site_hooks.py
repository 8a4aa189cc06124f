"""For the documentation site alone: links to files outside docs/ become their paths, and the notebook a page."""

import json
import re
from pathlib import Path


def on_page_markdown(markdown: str, page, **_) -> str:
    """Called by MkDocs with the text of every page."""
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _name, markdown)


def _name(link: re.Match) -> str:
    text, path = link.groups()
    return text if path in text else f"{text} (`{path}`)"


def on_files(files, config, **_):
    """Called by MkDocs with all files: the executed notebook becomes the page tour.md."""
    from mkdocs.structure.files import File

    notebook = Path(config["config_file_path"]).parent / "examples" / "tour.ipynb"
    files.append(File.generated(config, "tour.md", content=notebook_page(notebook)))
    return files


def notebook_page(path: Path) -> str:
    """A notebook with its outputs as Markdown; pictures are inside it."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", ())]
    return "\n\n".join([*parts, "*This page is `examples/tour.ipynb`, executed.*", ""])


def _output(output: dict) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        return f'<img alt="Figure drawn by the code above" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.S)
        lines = "\n".join(line.strip() for line in table.splitlines() if line.strip())
        return f'<div style="overflow-x: auto">\n{lines}\n</div>'
    return "```text\n" + (data.get("text/plain") or "".join(output.get("text", ""))) + "\n```"
