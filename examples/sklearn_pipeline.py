"""A model of fraudlab inside a scikit-learn pipeline, judged on splits in time: ``python sklearn_pipeline.py``."""

import numpy as np
import polars as pl
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from fraudlab.sklearn import FraudClassifier

ROWS, DAYS, LABEL_DELAY_DAYS = 6000, 60, 7


def transactions(seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Made-up transactions in order of time, and which of them are fraud: 4 %."""
    draw = np.random.default_rng(seed)
    usual = draw.gamma(2.0, 30.0, ROWS)  # what the card's holder pays on average
    amount = usual * draw.gamma(2.0, 0.5, ROWS)
    country = draw.choice(["fr", "de", "us", "??"], ROWS, p=[0.5, 0.3, 0.15, 0.05])
    hour = draw.integers(0, 24, ROWS)
    risk = 1.2 * amount / usual + 1.5 * (country == "??") + 1.0 * (hour < 5) + draw.gumbel(0.0, 0.8, ROWS)
    table = pl.DataFrame({"amount": amount, "usual_amount": usual, "country": country, "hour": hour})
    return table, (risk > np.quantile(risk, 0.96)).astype(int)


def with_ratio(table: pl.DataFrame) -> pl.DataFrame:
    """A feature of one's own: it looks at its row alone, so it cannot see the future."""
    return table.with_columns(ratio=pl.col("amount") / pl.col("usual_amount"))


def main() -> None:
    X, y = transactions()
    classifier = FraudClassifier("lightgbm", overrides=["model.n_estimators=50"], categorical=["hour"])
    model = Pipeline([("ratio", FunctionTransformer(with_ratio)), ("model", classifier)])
    # Each test lies after its training rows, and the rows whose labels are not known when it begins are left out.
    in_time = TimeSeriesSplit(3, gap=ROWS * LABEL_DELAY_DAYS // DAYS)
    scores = cross_val_score(model, X, y, cv=in_time, scoring="average_precision")
    print(f"average precision: {' '.join(f'{score:.3f}' for score in scores)}; by chance: {y.mean():.3f}")


if __name__ == "__main__":
    main()
