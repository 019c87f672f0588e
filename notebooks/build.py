"""Execute the notebooks and write their pages of the site: ``python notebooks/build.py [01_first_model ...]``."""

import base64
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jupytext
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parent
PAGES = NOTEBOOKS.parent / "docs" / "notebooks"
SECONDS = 300  # of one cell, where others use the machine too
_HERE = "This page is the notebook `notebooks/{}.py` with its outputs, written by `make notebooks`."


def notebooks() -> list[Path]:
    return sorted(NOTEBOOKS.glob("[0-9]*.py"))


def executed(path: Path, folder: Path) -> NotebookNode:
    """The notebook with its outputs, run in ``folder`` by this interpreter; an error in a cell is raised."""
    notebook = jupytext.read(path)
    # Coverage would measure the kernel too; another backend than the kernel's own shows no plot.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "MPLBACKEND"))}
    with tempfile.TemporaryDirectory() as sockets:
        # Where no installed kernel is looked at, python3 is this interpreter.
        this = KernelSpecManager(kernel_dirs=[])
        kernel = AsyncKernelManager(kernel_spec_manager=this, transport="ipc", ip=f"{sockets}/kernel")
        place = {"metadata": {"path": str(folder)}}
        client = NotebookClient(notebook, km=kernel, timeout=SECONDS, resources=place, coalesce_streams=True)
        client.owns_km = True  # it ends the kernel
        client.execute(env={**env, "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore:IProgress not found"})
    return notebook


def source(cell: NotebookNode) -> str:
    """A cell as Markdown, without its outputs."""
    return cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"


def write_page(notebook: NotebookNode, name: str, folder: Path) -> None:
    """Write ``<name>.md`` and its images, ``<name>_<number>.png``."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"{name}_*.png"):
        old.unlink()
    parts, heading = [], name
    images = 0
    for cell in notebook.cells:
        parts.append(source(cell))
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                images += 1
                image = f"{name}_{images}.png"
                (folder / image).write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"![{heading}]({image})")
            else:
                parts += _shown(output)
    parts.insert(1, _HERE.format(name))
    (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _shown(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "stream":
        yield f"```text\n{output.text.rstrip()}\n```"
    elif "text/html" in output.data:
        # Without a frame's own style, the site's theme gives a table its look, and a bar to scroll it.
        html = re.sub(r"<style>.*?</style>", "", output.data["text/html"], flags=re.DOTALL)
        html = re.sub(r"<table [^>]*>", "<table>", html)
        yield "\n".join(line for line in html.splitlines() if line.strip())
    else:
        yield f"```text\n{output.data['text/plain']}\n```"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as working:
        for path in notebooks():
            if not sys.argv[1:] or path.stem in sys.argv[1:]:
                write_page(executed(path, Path(working)), path.stem, PAGES)
                print(PAGES / f"{path.stem}.md")
