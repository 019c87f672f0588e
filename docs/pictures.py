"""``python docs/pictures.py``: the pictures of docs/concepts.md, as SVG in docs/images.

The numbers are examples; those of ``two_fits`` are the book's protocol. A test draws all of them again.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).parent / "images"
WIDTH = 760
_STYLE = (
    "svg{--paper:#fff;--ink:#1d2530;--muted:#5d6878;--line:#c9d0d9;--first:#1f6feb;--second:#cf4b12;"
    "font:13px system-ui,sans-serif;background:var(--paper)}"
    "@media (prefers-color-scheme:dark){svg{--paper:#12161c;--ink:#e4e8ee;--muted:#9aa5b4;--line:#4a5563;"
    "--first:#6cabff;--second:#ff8f5c}}"
    "text{fill:var(--ink)}.small{font-size:12px;fill:var(--muted)}"
)
INK, MUTED, LINE, FIRST, SECOND = "ink", "muted", "line", "first", "second"


class Picture:
    """Shapes on a plane of ``WIDTH`` times ``height`` units, from the upper left corner."""

    def __init__(self, height: int, says: str) -> None:
        self._height, self._says, self._parts = height, says, list[str]()

    def rect(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> None:
        self._add(f'rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="var(--{colour})"', opacity)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = LINE, dashed: bool = False) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._add(f'path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="var(--{colour})" stroke-width="1.5"{dashes}')

    def curve(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._add(f'path d="M{path}" stroke="var(--{colour})" stroke-width="2.5" fill="none"')

    def dot(self, x: float, y: float, colour: str, hollow: bool = False) -> None:
        fill = f'fill="none" stroke="var(--{colour})" stroke-width="2"' if hollow else f'fill="var(--{colour})"'
        self._add(f'circle cx="{x:g}" cy="{y:g}" r="6" {fill}')

    def text(self, x: float, y: float, said: str, anchor: str = "start", small: bool = False) -> None:
        look = ' class="small"' if small else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{look}>{escape(said)}</text>')

    def svg(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" role="img"'
        title = f"<title>{escape(self._says)}</title><style>{_STYLE}</style>"
        return "\n".join([f"{head}>{title}", *self._parts, "</svg>\n"])

    def _add(self, shape: str, opacity: float = 1.0) -> None:
        faint = "" if opacity == 1 else f' opacity="{opacity:g}"'
        self._parts.append(f"<{shape}{faint}/>")


def point_in_time() -> Picture:
    """One card's transactions, and which of them a feature may count."""
    picture = Picture(170, "A feature of the transaction at t counts the card's transactions of the 7 days before t")
    day = 44
    now = 30 + 11 * day
    picture.rect(now - 7 * day, 52, 7 * day, 56, FIRST, 0.15)
    picture.line(20, 80, WIDTH - 20, 80)
    picture.line(now, 30, now, 126, INK)
    for at in (0.6, 2.1, 5.2, 6.4, 6.9, 9.3, 11.0, 12.4, 14.7):
        x = 30 + at * day
        inside = now - 7 * day <= x < now
        picture.dot(x, 80, FIRST if inside else SECOND if x == now else MUTED, hollow=not inside and x != now)
    picture.text(now, 22, "t: the transaction to score", "middle")
    picture.text(now - 3.5 * day, 128, "the last 7 days: 4 transactions", "middle")
    picture.text(30 + 1.3 * day, 128, "outside the window", "middle", small=True)
    picture.text(now + 2.6 * day, 128, "not known yet", "middle", small=True)
    picture.text(20, 158, "time of one card's transactions →", small=True)
    return picture


def label_delay() -> Picture:
    """Which labels are known when a model is trained."""
    picture = Picture(226, "Today only the labels of transactions that are at least 7 days old are known")
    day, delay, today = 36, 7, 14
    x0 = 40
    picture.rect(x0 + (today - delay) * day, 40, delay * day, 140, MUTED, 0.15)
    for row, made in enumerate((1, 4, 6, 9, 12)):
        y = 60 + 26 * row
        known = made + delay <= today
        picture.line(x0 + made * day, y, x0 + (made + delay) * day, y, FIRST if known else MUTED, dashed=not known)
        picture.dot(x0 + made * day, y, INK)
        picture.dot(x0 + (made + delay) * day, y, FIRST if known else MUTED, hollow=not known)
    picture.line(x0 + today * day, 30, x0 + today * day, 190, SECOND)
    picture.text(x0 + today * day, 22, "today", "middle")
    picture.text(x0 + 10.5 * day, 200, "the label delay: nothing to learn from yet", "middle", small=True)
    picture.text(x0 + 3.2 * day, 200, "labels are known: training", "middle", small=True)
    picture.text(20, 220, "● a transaction — 7 days — ○ its label becomes known", small=True)
    return picture


def splits() -> Picture:
    """A random split and a split in time of one card's days."""
    picture = Picture(190, "A random split puts days of one card on both sides; a split in time does not")
    day, left = 22, 160
    parts = "tttTttTttttTtttTtttttTtt"
    for row, name in enumerate(("random split", "split in time")):
        y = 40 + 62 * row
        picture.text(left - 12, y + 20, name, "end")
        for at, part in enumerate(parts):
            colour, opacity = (SECOND, 1.0) if part == "T" else (FIRST, 0.55)
            if row:
                colour, opacity = (FIRST, 0.55) if at < 12 else (MUTED, 0.25) if at < 18 else (SECOND, 1.0)
            picture.rect(left + at * day, y, day - 3, 30, colour, opacity)
    picture.text(left, 26, "days of one card →", small=True)
    picture.text(left + 6 * day, 150, "training", "middle", small=True)
    picture.text(left + 15 * day, 150, "label delay", "middle", small=True)
    picture.text(left + 21 * day, 150, "test", "middle", small=True)
    picture.text(
        20,
        180,
        "Random: each test day (orange) has training days (blue) of the same card before and after it.",
        small=True,
    )
    return picture


def alert_budget() -> Picture:
    """The highest of 1,000 scores, and the budget that cuts them."""
    frauds, shown, budget = {0, 1, 2, 4, 5, 7, 8, 13, 22}, 40, 10
    found = len([rank for rank in frauds if rank < budget])
    picture = Picture(230, f"A budget of {budget} alerts per 1,000 transactions finds {found} of {len(frauds)} frauds")
    left, step, bottom = 40, 17, 180
    for rank in range(shown):
        tall = 140 * math.exp(-rank / 14)
        fraud = rank in frauds
        picture.rect(
            left + rank * step, bottom - tall, step - 4, tall, SECOND if fraud else FIRST, 1.0 if fraud else 0.45
        )
    cut = left + budget * step - 2
    picture.line(cut, 24, cut, bottom + 8, INK, dashed=True)
    picture.line(left - 10, bottom, left + shown * step, bottom)
    picture.text(cut + 10, 36, f"the threshold: {budget} alerts per 1,000 transactions")
    picture.text(
        cut + 10, 58, f"precision {found / budget:g}: {found} of {budget} alerts are frauds (orange)", small=True
    )
    picture.text(
        cut + 10, 78, f"recall {found / len(frauds):.2f}: {found} of {len(frauds)} frauds are alerted", small=True
    )
    picture.text(left - 10, 206, f"the {shown} highest scores of 1,000 transactions, highest first →", small=True)
    return picture


def calibration() -> Picture:
    """The share of frauds among rows of a score, before and after."""
    picture = Picture(330, "Before calibration a score of 0.5 means a share of 0.18; after it, 0.5")
    left, bottom, side = 70, 290, 260

    def place(score: float, share: float) -> tuple[float, float]:
        return left + side * score, bottom - side * share

    def shares(slope: float, shift: float) -> list[tuple[float, float]]:
        at = [number / 50 for number in range(1, 50)]
        return [place(s, 1 / (1 + math.exp(-(slope * math.log(s / (1 - s)) + shift)))) for s in at]

    for tick in (0.0, 0.5, 1.0):
        picture.line(*place(tick, 0), *place(tick, 1))
        picture.line(*place(0, tick), *place(1, tick))
        picture.text(left + side * tick, bottom + 18, f"{tick:g}", "middle", small=True)
        picture.text(left - 8, bottom - side * tick + 4, f"{tick:g}", "end", small=True)
    picture.curve(shares(1.0, 0.0), FIRST)
    picture.curve(shares(1.3, -1.5), SECOND)
    picture.text(left + side / 2, 324, "score", "middle", small=True)
    picture.text(14, 22, "share of frauds", small=True)
    before = 1 / (1 + math.exp(1.5))
    for row, (colour, said) in enumerate(
        (
            (SECOND, f"uncalibrated: of rows with score 0.5, {before:.0%} are frauds"),
            (FIRST, "calibrated: of rows with score 0.5, 50% are frauds"),
        )
    ):
        picture.rect(370, 60 + 30 * row, 14, 14, colour)
        picture.text(392, 72 + 30 * row, said, small=True)
    picture.text(370, 150, "The order of the rows is the same,", small=True)
    picture.text(370, 168, "so the same rows are alerted at a budget.", small=True)
    return picture


def two_fits() -> Picture:
    """The windows of both fits of the book's protocol."""
    picture = Picture(190, "The first fit is measured on validation, the second learns from newer days and is tested")
    day, left = 16, 120
    weeks = ("07-11", "07-18", "07-25", "08-01", "08-08", "08-15")
    for number, first in enumerate(weeks):
        x = left + 7 * day * number
        picture.line(x, 30, x, 140)
        picture.text(x, 22, first, "middle", small=True)
    rows = (
        ("first fit", (0, FIRST, 0.55, "training"), (1, MUTED, 0.2, "label delay"), (2, SECOND, 0.9, "validation")),
        ("second fit", (2, FIRST, 0.55, "training"), (3, MUTED, 0.2, "label delay"), (4, SECOND, 0.9, "test")),
    )
    for row, (name, *bars) in enumerate(rows):
        y = 44 + 50 * row
        picture.text(left - 14, y + 22, name, "end")
        for week, colour, opacity, said in bars:
            picture.rect(left + 7 * day * week + 1, y, 7 * day - 2, 34, colour, opacity)
            picture.text(left + 7 * day * (week + 0.5), y + 22, said, "middle")
    picture.text(
        left,
        166,
        "best epoch, thresholds and calibration are chosen on validation; the test is scored once",
        small=True,
    )
    return picture


PICTURES: tuple[Callable[[], Picture], ...] = (
    point_in_time,
    label_delay,
    splits,
    alert_budget,
    calibration,
    two_fits,
)

if __name__ == "__main__":
    for draw in PICTURES:
        (IMAGES / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")
