"""``python docs/diagrams.py``: the pictures of docs/architecture.md, drawn from imports, settings and dvc.yaml.

Each box stands in a row, and each arrow goes from a row to one further down: an arrow over several rows passes each of
them in a place of its own. The order in a row is the one with the fewest crossings that some sweeps find.
"""

import dataclasses
import sys
import tomllib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import grimp
import yaml

from fraudlab import config

REPOSITORY = Path(__file__).parents[1]
IMAGES = Path(__file__).parent / "images"
CHARACTER, LINE, MARGIN = 7.8, 18, 16  # pixels: of a monospace of 13 pixels, of a line, around
GAP, BETWEEN, PORT = 26, 32, 14  # pixels between boxes, rows, and arrows at a box
SWEEPS = 40

# One palette for light and dark: text is white in a box, and grey outside one.
STYLE = (
    "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#fff;text-anchor:middle}"
    ".note{fill:#768390;font-family:system-ui,sans-serif;text-anchor:start}"
    ".step{fill:#1d5fbf}.light{fill:#0f766e}.file{fill:#56606c}.many{fill:#6b4fbb}.band{fill:#768390;fill-opacity:.13}"
    "path{fill:none;stroke:#768390;stroke-width:1.4}marker path{fill:#768390;stroke:none}"
)


@dataclasses.dataclass
class Box:
    """A box, or, without lines of text, the place where an arrow passes a row."""

    name: str
    lines: Sequence[str] = ()
    kind: str = "step"
    x: float = 0.0  # of its centre

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * CHARACTER + 20 if self.lines else 4

    @property
    def height(self) -> int:
        return len(self.lines) * LINE + 12 if self.lines else 0


Edge = tuple[str, str]


def packages() -> str:
    """The packages by the layers of import-linter's contract, with the imports from which all others follow."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" : ") for layer in next(each for each in contracts if each["type"] == "layers")["layers"]]
    free = next(each for each in contracts if "training stack" in each["name"])["source_modules"]
    commands = [name for name in layers[0] if name in config.COMMANDS]
    of_command = dict.fromkeys(commands, "commands")
    layers[0] = ["commands", *(name for name in layers[0] if name not in commands)]
    graph = grimp.build_graph("fraudlab", cache_dir=None)
    edges = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            both = [path.split(".")[1] for path in (module, imported) if "." in path]
            one, other = (of_command.get(name, name) for name in both) if len(both) == 2 else ("", "")
            if one != other:
                edges.add((one, other))
    edges = reduced(edges)
    rows, bands = [], []
    for layer in layers:
        inside = levels(layer, edges)
        bands.append((len(rows), len(rows) + len(inside)))
        rows += inside
    boxes = {}
    for name in (name for row in rows for name in row):
        lines = wrapped(commands, 90) if name == "commands" else [name]
        kind = "many" if name == "commands" else "light" if f"fraudlab.{name}" in free else "step"
        boxes[name] = Box(name, lines, kind)
    notes = [
        ("light", "kept free of PyTorch, Lightning, Hydra and Optuna: a server needs none of them"),
        ("many", "the commands, a module each"),
        (None, "Each strip is a layer. An arrow is an import; those that follow from others are left out."),
    ]  # fmt: skip
    placed_in = [[boxes[name] for name in row] for row in rows]
    return drawn("The packages of fraudlab and what they import", placed_in, edges, bands, notes)


# What a stage of dvc.yaml leaves in its folder, and what the commands after the export take and give: the settings that
# name it, with the file or folder. A setting that does not exist fails the drawing.
LEFT = {"data": "prepared table", "train": "run folder", "evaluate": "metrics and curves", "bundle": "bundle"}
FLOW: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    ("predict", {"bundle": "bundle", "input": "new.csv"}, {"output": "scored.parquet"}),
    ("serve", {"bundle": "bundle", "serving": "POST /predict"}, {"serving.record_to": "record"}),
    ("labels", {"file": "labels that come later"}, {"to": "record"}),
    ("drift", {"bundle": "bundle", "records": "record"}, {"out": "drift report"}),
    ("performance", {"bundle": "bundle", "records": "record"}, {"out": "performance report"}),
    ("labels", {"records": "record"}, {"out": "training table"}),
)


def pipeline() -> str:
    """From raw files to a served answer and back to a training table: the stages of dvc.yaml, then the commands."""
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    boxes: dict[str, Box] = {"raw files": Box("raw files", ["raw files"], "file")}
    edges: set[Edge] = {("raw files", next(iter(stages)))}
    for name, stage in stages.items():
        outs = [path for kind in ("outs", "metrics") for path in stage.get(kind, ())]
        boxes[name] = Box(name, [name, "run="] if "run" in _settings(name) else [name])
        for path in {*stage["deps"], *outs}:
            parts = path.split("/")
            if parts[:2] == ["outputs", "dvc"]:
                left = LEFT[parts[2]]
                boxes.setdefault(left, Box(left, [left], "file"))
                edges.add((name, left) if path in outs else (left, name))
    for number, (command, takes, gives) in enumerate(FLOW):
        settings = _settings(command)
        name = f"{command} {number}"
        keys = [key for key in (*takes, *gives) if key != "serving"]
        assert all(key.split(".")[0] in settings for key in (*takes, *gives)), (command, settings)
        boxes[name] = Box(name, [command, " ".join(f"{key}=" for key in keys)])
        for file in (*takes.values(), *gives.values()):
            boxes.setdefault(file, Box(file, [file], "file"))
        edges |= {(file, name) for file in takes.values()} | {(name, file) for file in gives.values()}
    boxes["answer"] = Box("answer", ["score, level, reasons"], "file")
    edges.add((next(name for name in boxes if name.startswith("serve ")), "answer"))
    rows = [[boxes[name] for name in row] for row in levels(list(boxes), edges, late=True)]
    notes = [
        ("step", "a command: python -m fraudlab.<command>"),
        ("file", "what it reads or writes"),
        (None, f"{', '.join(stages)} are the stages of dvc.yaml: make pipeline runs what has changed."),
    ]
    return drawn("From raw files to a served answer", rows, edges, [], notes)


def _settings(command: str) -> set[str]:
    return {field.name for field in dataclasses.fields(config.COMMANDS[command])}


def reduced(edges: set[Edge]) -> set[Edge]:
    """The edges without those that follow from others."""
    to: dict[str, set[str]] = {}
    for one, other in edges:
        to.setdefault(one, set()).add(other)
    beyond: dict[str, set[str]] = {}

    def reached(name: str) -> set[str]:
        if name not in beyond:
            beyond[name] = {each for other in to.get(name, ()) for each in {other, *reached(other)}}
        return beyond[name]

    return {(a, b) for a, b in edges if not any(b in reached(other) for other in to[a] if other != b)}


def levels(names: Sequence[str], edges: Iterable[Edge], late: bool = False) -> list[list[str]]:
    """Rows such that each edge among ``names`` goes down; ``late`` moves what the first name does not lead to down."""
    among = [(one, other) for one, other in edges if one in names and other in names]
    level = dict.fromkeys(names, 0)
    reached = {names[0]} if late else set(names)
    for _ in names:
        for one, other in among:
            level[other] = max(level[other], level[one] + 1)
            reached |= {other} if one in reached else set()
    for _ in names:
        for name in (name for name in names if name not in reached):
            level[name] = min(level[other] for one, other in among if one == name) - 1
    return [sorted(name for name in names if level[name] == row) for row in range(max(level.values()) + 1)]


def wrapped(words: Iterable[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word} "
    return [line.strip() for line in lines]


def placed(rows: list[list[Box]], edges: set[Edge]) -> tuple[list[list[Box]], list[list[Box]]]:
    """The rows in an order and with places, arrows' ways among them, and the boxes on the way of each arrow."""
    at = {box.name: (number, box) for number, row in enumerate(rows) for box in row}
    rows = [list(row) for row in rows]
    ways = []
    for one, other in sorted(edges):
        (first, start), (last, end) = at[one], at[other]
        way = [start, *(Box(f"{one} {other} {number}") for number in range(first + 1, last)), end]
        for number, box in enumerate(way[1:-1], first + 1):
            rows[number].append(box)
        ways.append(way)
    near: dict[str, list[tuple[Box, int]]] = {box.name: [] for row in rows for box in row}
    above: dict[str, list[Box]] = {name: [] for name in near}
    for way in ways:
        for one, other in pairwise(way):
            pull = 8 if not (one.lines or other.lines) else 1  # what passes rows is straight, if anything is
            near[one.name].append((other, pull))
            near[other.name].append((one, pull))
            above[other.name].append(one)
    for row in rows:
        _spread(row, near)
    best, fewest = [list(row) for row in rows], _crossings(rows, above)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            row.sort(key=lambda box: (_middle(near[box.name], box.x)[0], box.name))
            _spread(row, near)
        if (crossings := _crossings(rows, above)) < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for sweep in range(4 * SWEEPS):
        for row in best if sweep % 2 == 0 else best[::-1]:
            _spread(row, near)
    return best, ways


def _middle(boxes: Sequence[tuple[Box, int]], otherwise: float) -> tuple[float, int]:
    """The place in the middle of what pulls a box, and how strongly that does."""
    weight = sum(pull for _, pull in boxes)
    return (sum(box.x * pull for box, pull in boxes) / weight, weight) if weight else (otherwise, 1)


def _crossings(rows: Sequence[Sequence[Box]], above: dict[str, list[Box]]) -> int:
    total = 0
    for upper, row in pairwise(rows):
        place = {box.name: number for number, box in enumerate(upper)}
        ends = [(place[one.name], number) for number, box in enumerate(row) for one in above[box.name]]
        total += sum((a - c) * (b - d) < 0 for n, (a, b) in enumerate(ends) for c, d in ends[:n])
    return total


def _spread(row: Sequence[Box], near: dict[str, list[tuple[Box, int]]]) -> None:
    """Put the boxes of a row as near to what pulls them as their order and the gaps let."""
    widths = [box.width for box in row]
    gaps = [0.0, *((one + other) / 2 + GAP for one, other in pairwise(widths))]
    for box, place in zip(row, apart([_middle(near[box.name], box.x) for box in row], gaps), strict=True):
        box.x = place


def apart(wanted: Sequence[tuple[float, int]], gaps: Sequence[float]) -> list[float]:
    """Places in this order, each at least its gap behind the one before: least squares, by pooling neighbours.

    ``wanted`` has the place and its weight.
    """
    offsets = list(accumulate(gaps))
    pools: list[list[float]] = []  # sum of what its members want, their weight, and how many they are
    for (place, weight), offset in zip(wanted, offsets, strict=True):
        pools.append([(place - offset) * weight, weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    places = [total / weight for total, weight, count in pools for _ in range(int(count))]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]


def drawn(
    title: str,
    rows: list[list[Box]],
    edges: set[Edge],
    bands: Sequence[tuple[int, int]],
    notes: Sequence[tuple[str | None, str]],
) -> str:
    """The picture as SVG: ``bands`` are strips behind some rows, ``notes`` stand below, with the colour of a kind."""
    rows, ways = placed(rows, edges)
    shift = MARGIN - min(box.x - box.width / 2 for row in rows for box in row)
    width = MARGIN + shift + max(box.x + box.width / 2 for row in rows for box in row)
    width = max(width, 2 * MARGIN + 30 + max(len(text) for _, text in notes) * 6.8)
    top, tops = MARGIN, []
    for row in rows:
        tops.append(top)
        top += max(box.height for box in row) + BETWEEN
    tops.append(top)
    parts = []
    for first, end in bands:
        y, height = tops[first] - BETWEEN / 2 + 3, tops[end] - tops[first] - 6
        parts.append(f'<rect class="band" x="0" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>')
    spans = {
        box.name: (tops[number], tops[number] + box.height if box.lines else tops[number + 1] - BETWEEN)
        for number, row in enumerate(rows)
        for box in row
    }
    leaves = _ports([(way[0], way[1].x) for way in ways])
    comes = _ports([(way[-1], way[-2].x) for way in ways])
    for way, start, end in zip(ways, leaves, comes, strict=True):
        parts.append(f'<path d="{_arrow(way, (start + shift, end + shift), spans, shift)}" marker-end="url(#end)"/>')
    for number, row in enumerate(rows):
        for box in (box for box in row if box.lines):
            x, y = box.x + shift, tops[number]
            radius = box.height / 2 if box.kind == "file" else 4
            parts.append(
                f'<rect class="{box.kind}" x="{x - box.width / 2:.0f}" y="{y:.0f}" width="{box.width:.0f}" '
                f'height="{box.height}" rx="{radius:.0f}"/>'
            )
            parts += [
                f'<text x="{x:.0f}" y="{y + 6 + LINE * (line + 0.72):.0f}">{escape(text)}</text>'
                for line, text in enumerate(box.lines)
            ]
    for kind, text in notes:
        if kind:
            parts.append(f'<rect class="{kind}" x="{MARGIN}" y="{top - 11:.0f}" width="22" height="13" rx="3"/>')
        parts.append(f'<text class="note" x="{MARGIN + (30 if kind else 0)}" y="{top:.0f}">{escape(text)}</text>')
        top += LINE + 2
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style><defs>'
        '<marker id="end" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _ports(ends: Sequence[tuple[Box, float]]) -> list[float]:
    """Where arrows touch their boxes, of each the box and where it leads: straight if they can, apart if they must."""
    found = [0.0] * len(ends)
    for name in dict.fromkeys(box.name for box, _ in ends):
        own = sorted((x, number) for number, (box, x) in enumerate(ends) if box.name == name)
        box = ends[own[0][1]][0]
        inside = box.width / 2 - 12
        gap = min(PORT, 2 * inside / max(len(own) - 1, 1))
        wanted = [(min(max(x, box.x - inside), box.x + inside), 1) for x, _ in own]
        places = apart(wanted, [0, *[gap] * (len(own) - 1)])
        over = max(places[-1] - box.x - inside, 0) + min(places[0] - box.x + inside, 0)
        for (_, number), place in zip(own, places, strict=True):
            found[number] = place - over
    return found


def _arrow(way: Sequence[Box], ends: tuple[float, float], spans: dict[str, tuple[float, float]], shift: float) -> str:
    """The path of an arrow along the boxes of its way; it ends short of the last by the arrow's head."""
    x, y = ends[0], spans[way[0].name][1]
    path = f"M{x:.0f} {y:.0f}"
    for box in way[1:]:
        top, bottom = spans[box.name]
        to, top = (ends[1], top - 5) if box is way[-1] else (box.x + shift, top)
        half = (y + top) / 2
        path += f"C{x:.0f} {half:.0f} {to:.0f} {half:.0f} {to:.0f} {top:.0f}"
        x, y = to, bottom
        if box is not way[-1]:
            path += f"V{bottom:.0f}"
    return path


PICTURES: dict[str, Any] = {"packages": packages, "pipeline": pipeline}


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(picture(), encoding="utf-8")
    sys.stdout.write(f"docs/images: {', '.join(f'{name}.svg' for name in PICTURES)}\n")
