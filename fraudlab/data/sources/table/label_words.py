"""The words of a label, once it is known which of them mean fraud."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fraudlab.features.values import as_text, clean, is_text


@dataclass(frozen=True)
class Labels:
    """How a label is read: its words as :func:`words` writes them."""

    fraud: tuple[str, ...]
    genuine: tuple[str, ...]
    unlabelled: str  # refuse | leave_out | genuine

    def values(self, text: pl.Expr) -> pl.Expr:
        """Int8: 1 fraud, 0 genuine, null for neither."""
        value = pl.when(text.is_in(self.fraud)).then(1)
        if self.unlabelled == "genuine":
            return value.otherwise(0).cast(pl.Int8)
        return value.when(text.is_in(self.genuine)).then(0).cast(pl.Int8)

    def of_file(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """Int8 of a column of another file, which may have 1 and 0 for the words: null is not told, 2 another word."""
        given, told = words(name, dtype, ()), {*self.fraud, *self.genuine}
        numbers = not told & {"0", "1"}
        other = {"genuine": 0, "leave_out": None}.get(self.unlabelled, 2)
        fraud = given.is_in([*self.fraud, *(["1"] if numbers else [])])
        genuine = given.is_in([*self.genuine, *(["0"] if numbers else [])])
        value = pl.when(fraud).then(1).when(genuine).then(0)
        return value.when(given.is_null()).then(None).otherwise(other).cast(pl.Int8)

    @property
    def plain(self) -> bool:
        """Whether the words are 1 and 0, and no row may have another or none."""
        return self.fraud == ("1",) and {*self.genuine} <= {"0"} and self.unlabelled == "refuse"


def words(name: str, dtype: pl.DataType, missing_values: Sequence[str]) -> pl.Expr:
    """The label as text; 1, 1.0 and "1.0" are one word, the codes 010 and 10 are two.

    0 is a value here, even if it means missing elsewhere.
    """
    value = pl.col(name)
    if not is_text(dtype):
        return as_text(value, dtype)
    text = clean(value)
    number = pl.when(~text.str.contains(r"^[+-]?0\d")).then(text.cast(pl.Float64, strict=False).fill_nan(None))
    missing = text.is_in(list(missing_values)) & number.is_null() if missing_values else pl.lit(False)
    return pl.when(~missing).then(pl.coalesce(as_text(number, pl.Float64()), text))
