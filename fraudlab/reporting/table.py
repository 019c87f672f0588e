"""The plain-text table of metrics printed at the end of a training."""

from collections.abc import Mapping
from typing import Any

from fraudlab.metrics.registry import headings
from fraudlab.reporting.published import Benchmark


def metrics_table(metrics: Mapping[str, Any], published: Benchmark | None = None, *, simulated: bool = False) -> str:
    """A table of at most 100 columns: this run's validation and test split, then the published models.

    Args:
        metrics: the content of ``metrics.json``; splits and metrics it lacks, or has as None, show as a dash. A line
            says why CP@100 has one.
        published: benchmark whose models stand below; only for a run that follows its protocol.
        simulated: whether the data were simulated; the caption says so.
    """
    rows = [(f"{split} (this run)", metrics[split], 4) for split in ("val", "test") if split in metrics]
    if published is not None:
        rows += [(f"{model.name} ({model.source})", model.metrics, 3) for model in published.models]
    cells = [["", *headings().values()]]
    cells += [[name, *(_cell(metrics.get(key), digits) for key in headings())] for name, metrics, digits in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    caption = "Metrics on simulated data" if simulated else "Metrics"
    if published is not None:
        lines.insert(len(lines) - len(published.models), "")
        caption += f"; below the gap: {published.title}, on its test split"
    own = [values for name, values, _ in rows if name.endswith("(this run)")]
    if any(values.get("card_precision_at_100") is None for values in own):
        lines += ["", "CP@100 is -: it needs a card and a time of each transaction (data.card, data.time)"]
    return "\n".join([caption, "", *lines])


def reconstruction_table(metrics: Mapping[str, Any]) -> str:
    """The losses of a pretraining, of the content of its ``metrics.json``."""
    lines = [
        "Mean squared error of the reconstructed columns, each in units of its variance, nothing hidden:",
        "1 is as good as predicting each column's mean, 0 is perfect; constant columns lower the first figure\n",
        f"{'':5}  {'rows':>10}  {'reconstruction':>14}  {'column means':>12}",
    ]
    for part, values in metrics.items():
        loss, baseline = values["reconstruction_loss"], values["baseline"]
        lines.append(f"{part:5}  {values['rows']:10,}  {loss:14.4f}  {baseline:12.4f}")
    return "\n".join(lines)


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
