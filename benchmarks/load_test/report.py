"""What Locust's users saw, as a Markdown page and a plot."""

from pathlib import Path

import matplotlib as mpl
import polars as pl

mpl.use("Agg")
import matplotlib.pyplot as plt

PERCENTILES = (50, 90, 95, 99)


def write(folder: Path, title: str) -> str:
    """Write ``latency.png`` and ``report.md`` from ``answers.csv`` of ``folder``; gives the page's table.

    Args:
        folder: with the file that :mod:`benchmarks.load_test.users` wrote.
        title: what was asked of which bundle.
    """
    answers = pl.read_csv(folder / "answers.csv")
    good = answers.filter(pl.col("status") == 200)
    seconds = max(answers["sent_s"].max() or 0.0, 1e-9)
    rows = [
        ("requests", f"{len(answers):,}"),
        ("not answered with 200", f"{len(answers) - len(good):,}"),
        ("requests/s", f"{len(answers) / seconds:,.0f}"),
        *((f"p{p}, ms", _ms(good["milliseconds"].quantile(p / 100))) for p in PERCENTILES),
        ("slowest, ms", _ms(good["milliseconds"].max())),
    ]
    table = "\n".join(["| what | seen |", "|---|---:|", *(f"| {what} | {seen} |" for what, seen in rows)])
    _plot(good, folder / "latency.png", title)
    notes = (
        "The users run on the same machine as the server and share its processors: the times hold their waits too. "
        "`answers.csv` has a line for each request; `locust.html` is Locust's own report."
    )
    (folder / "report.md").write_text(f"# Load test\n\n{title}\n\n{table}\n\n![latency](latency.png)\n\n{notes}\n")
    return table


def _ms(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else "–"


def _plot(good: pl.DataFrame, path: Path, title: str) -> None:
    by_second = (
        good.group_by(pl.col("sent_s").floor().alias("second"))
        .agg(pl.len().alias("answers"), *(pl.col("milliseconds").quantile(p / 100).alias(f"p{p}") for p in PERCENTILES))
        .sort("second")
    )
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(8, 5.5), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    for p in PERCENTILES:
        above.plot(by_second["second"], by_second[f"p{p}"], label=f"p{p}")
    above.set(ylabel="milliseconds", title=title, ylim=(0, None))
    above.legend(ncols=len(PERCENTILES), loc="upper right")
    below.bar(by_second["second"], by_second["answers"], width=0.9, color="0.6")
    below.set(xlabel="seconds since the first request", ylabel="answers in the second")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
