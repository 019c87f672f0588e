"""What a table holds: its columns, their types and the part each of them plays."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from fraudlab.errors import UserError

ColumnType = Literal["integer", "number", "string", "boolean", "datetime"]
Role = Literal[
    "id", "time", "card", "terminal", "amount", "label", "label_time", "weight", "categorical", "numeric", "carried"
]

_ONE_COLUMN_ROLES: tuple[Role, ...] = ("id", "time", "card", "terminal", "amount", "label", "label_time", "weight")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``role`` is ``id``, ``time``, ``card`` (who pays), ``terminal`` (where, never an input), ``amount``, ``label``
    (1 = fraud), ``label_time`` (when that became known) or ``weight`` (how much is learnt from the row, never an
    input; one column each), ``categorical`` or ``numeric`` (a possible input of a model), or ``carried`` (kept,
    never an input).
    ``nullable`` says whether a value may be missing; ``minimum`` and ``maximum`` are inclusive limits;
    ``missing_values`` stand for a missing value.
    """

    name: str
    type: ColumnType
    role: Role
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    missing_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How a table's columns are made of those in its files: by it, files to be scored and records are read too.

    ``raw`` are the files' columns, with role ``carried``; ``as_read`` names, for columns whose values the table has in
    another form, the carried column that keeps them as they were. ``derive`` are SQL expressions. ``spelling``,
    ``time`` and ``layout`` are the settings of those names; ``label_time`` is as ``time``, empty where its values
    have the year first and the zone of the time; ``label`` has its words, empty where they are 1 and 0.
    """

    raw: tuple[Column, ...] = ()
    as_read: Mapping[str, str] = field(default_factory=dict)
    derive: Mapping[str, str] = field(default_factory=dict)
    spelling: Mapping[str, Any] = field(default_factory=dict)
    time: Mapping[str, Any] = field(default_factory=dict)
    layout: Mapping[str, Any] = field(default_factory=dict)
    label_time: Mapping[str, Any] = field(default_factory=dict)
    label: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, whether its rows were simulated, and how they are read where files are the user's own.

    Raises:
        UserError: a column is named twice, or a role that one column holds is given to several, or there
            is no label.
    """

    name: str
    columns: tuple[Column, ...]
    simulated: bool = False
    reading: Reading | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"table {self.name}: columns named more than once: {', '.join(doubled)}")
        for role in _ONE_COLUMN_ROLES:
            if len(holders := self.names(role)) > 1:
                raise UserError(f"table {self.name}: role {role} is given to several columns: {', '.join(holders)}")
        if not self.names("label"):
            raise UserError(f"table {self.name}: no column has the role label")

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Names of the columns with one of ``roles``, in table order."""
        return tuple(column.name for column in self.columns if column.role in roles)

    def _one(self, role: Role) -> str | None:
        return next(iter(self.names(role)), None)

    @property
    def id(self) -> str | None:
        return self._one("id")

    @property
    def time(self) -> str | None:
        return self._one("time")

    @property
    def card(self) -> str | None:
        return self._one("card")

    @property
    def label_time(self) -> str | None:
        """When a label became known; null: after ``label_delay_days``."""
        return self._one("label_time")

    @property
    def terminal(self) -> str | None:
        return self._one("terminal")

    @property
    def amount(self) -> str | None:
        return self._one("amount")

    @property
    def weight(self) -> str | None:
        return self._one("weight")

    @property
    def label(self) -> str:
        return self.names("label")[0]

    def require(self, present: Iterable[str], where: str) -> None:
        """Check that every column is among ``present``.

        Raises:
            UserError: columns are missing; the message names them, ``where`` and what is there.
        """
        there = list(present)
        if missing := [column.name for column in self.columns if column.name not in there]:
            raise UserError(
                f"{where}: column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing; "
                f"the table has: {', '.join(there)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data (for JSON) that ``from_dict`` reads back."""
        plain = {"name": self.name, "simulated": self.simulated, "columns": [asdict(c) for c in self.columns]}
        if self.reading is None:
            return plain
        reading = asdict(self.reading)
        for name in ("label_time", "label"):  # where they say nothing, earlier versions read it too
            if not reading[name]:
                del reading[name]
        return {**plain, "reading": reading}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "TableSchema":
        """The schema that ``to_dict`` wrote."""
        columns = _columns(plain["columns"])
        for column in columns:
            if column.type not in get_args(ColumnType) or column.role not in get_args(Role):
                raise UserError(f"schema {plain['name']}: column {column.name} has unknown type or role")
        reading = plain.get("reading")
        if reading is not None:
            reading = Reading(**{**reading, "raw": _columns(reading["raw"])})
        return cls(plain["name"], columns, plain["simulated"], reading)


def _columns(plain: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(Column(**{**column, "missing_values": tuple(column.get("missing_values", ()))}) for column in plain)
