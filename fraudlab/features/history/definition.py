"""What ``features=history`` is to compute."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fraudlab.config.aggregates import HALF_LIVES, OF_LABELS


@dataclass(frozen=True)
class Condition:
    """Rows of the past that count: those whose number in ``column`` compares so with ``limit``; None: to be learnt."""

    column: str
    operator: str
    limit: float | None

    @property
    def text(self) -> str:
        """As it is written, but for the limit."""
        return f"{self.column} {self.operator}"


@dataclass(frozen=True)
class Aggregate:
    """One feature.

    Attributes:
        name: of the feature.
        key: whose past; empty: of the row alone.
        of: ``count``, ``time``, ``label`` or a column's name.
        what: the aggregate, ``count`` for the number of rows.
        window: its length in microseconds, of ``decayed`` the half-life; None: all the past.
        where: rows that count; None: all.
        own: the present row counts, too.
        empty: what stands where there is no value; None: it is missing.
        longitude: the column of longitudes where ``of`` is one of latitudes, else empty.
        terms: of a ratio of two features of one key, ``what`` is ``ratio``.
        factor: times which the ratio is taken.
    """

    name: str
    key: str
    of: str
    what: str
    window: int | None
    where: Condition | None = None
    own: bool = False
    empty: float | None = None
    longitude: str = ""
    terms: "tuple[Aggregate, ...]" = ()
    factor: float = 1.0

    def __hash__(self) -> int:  # quick, as the features of a record are told apart by it
        return hash(self.name)

    @property
    def of_labels(self) -> bool:
        """Whether it rests on labels of earlier rows."""
        return any(a.of == "label" or a.what in OF_LABELS for a in self.terms or (self,))

    @property
    def reach(self) -> int | None:
        """How far back it looks, in microseconds; None: without limit; of a ratio its terms tell."""
        return self.window * HALF_LIVES if self.what == "decayed" and self.window else self.window


def basis(aggregates: Iterable[Aggregate]) -> tuple[Aggregate, ...]:
    """The aggregates, and the terms of ratios in their place, each once."""
    return tuple(dict.fromkeys(term for a in aggregates for term in a.terms or (a,)))


@dataclass(frozen=True)
class Definition:
    """The features, and what they are made of.

    Attributes:
        keys: columns of each key, by the key's name.
        aggregates: the features in order.
        numbers: columns whose numbers are aggregated.
        categories: columns whose values are told apart.
        time: the column of the time.
        decimals: numbers are rounded to so many, so that sums are exact.
        prior: weight of the share of frauds among all rows in a rate of frauds, in rows.
        delay: age at which a label is known, in microseconds.
    """

    keys: Mapping[str, tuple[str, ...]]
    aggregates: tuple[Aggregate, ...]
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    time: str
    decimals: int
    prior: float
    delay: int

    @property
    def reads_labels(self) -> bool:
        return any(aggregate.of_labels for aggregate in self.aggregates)

    @property
    def reach(self) -> int | None:
        """How far back features look, in microseconds; None: without limit."""
        windows = [aggregate.reach for aggregate in basis(self.aggregates) if aggregate.key]
        longest = None if None in windows else max((w for w in windows if w is not None), default=0)
        return None if longest is None else longest + self.delay * self.reads_labels

    @property
    def to_learn(self) -> tuple[Condition, ...]:
        """Conditions whose limit is not known."""
        found = (aggregate.where for aggregate in basis(self.aggregates))
        return tuple(dict.fromkeys(where for where in found if where is not None and where.limit is None))

    def of(self, key: str) -> tuple[Aggregate, ...]:
        """The features of one key; of the row alone for an empty name."""
        return tuple(aggregate for aggregate in self.aggregates if aggregate.key == key)

    def only(self, key: str) -> "Definition":
        """What one key's features need."""
        own = self.of(key)
        made_of = basis(own)
        used = (
            {a.of for a in made_of}
            | {a.longitude for a in made_of}
            | {a.where.column for a in made_of if a.where is not None}
        )
        numbers, categories = (
            tuple(name for name in names if name in used) for names in (self.numbers, self.categories)
        )
        return replace(self, keys={key: self.keys[key]}, aggregates=own, numbers=numbers, categories=categories)
