"""A small, sound pair of IEEE-CIS files, and ways to spoil it."""

import csv
import io
import zipfile
from pathlib import Path

from fraudlab.config import IEEECISConfig
from fraudlab.data.sources import ieee_cis
from fraudlab.data.sources.contract import Source
from fraudlab.data.sources.ieee_cis_columns import IDENTITY, TRANSACTION

IDS = (10, 11, 12, 13)
TIMES = (86400, 86401, 86401, 90000)
IDENTITY_IDS = (11, 13)

Row = dict[str, str]


def transactions() -> list[Row]:
    blank = dict.fromkeys(TRANSACTION, "")
    return [
        {
            **blank,
            "TransactionID": str(number),
            "isFraud": str(int(number == 12)),
            "TransactionDT": str(time),
            "TransactionAmt": "68.55",
            "ProductCD": "W",
            "card1": "13926",
            "addr1": "315.0" if number % 2 else "",
            "C1": "1.0",
            "D9": "0.958333015441895",
            "M1": "T",
            "V126": "117.39",
            "V339": "2.0" if number == 10 else "",
        }
        for number, time in zip(IDS, TIMES, strict=True)
    ]


def identities() -> list[Row]:
    blank = dict.fromkeys(IDENTITY, "")
    return [
        {**blank, "TransactionID": str(number), "id_01": "-5.0", "id_31": "chrome, beta", "DeviceInfo": 'TV 40" "x"'}
        for number in IDENTITY_IDS
    ]


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def put(folder: Path, transaction: bytes | None = None, identity: bytes | None = None, part: str = "train") -> Path:
    """Both files in ``folder``, small and sound where not given."""
    folder.mkdir(exist_ok=True)
    (folder / f"{part}_transaction.csv").write_bytes(as_csv(transactions()) if transaction is None else transaction)
    (folder / f"{part}_identity.csv").write_bytes(as_csv(identities()) if identity is None else identity)
    return folder


def load(folder: Path | str, cache: Path) -> Source:
    return ieee_cis.load(IEEECISConfig(raw_dir=str(folder)), cache)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def changed(rows: list[Row], number: int, **cells: str) -> bytes:
    rows[number] |= cells
    return as_csv(rows)


def without(rows: list[Row], *names: str) -> bytes:
    return as_csv([{name: cell for name, cell in row.items() if name not in names} for row in rows])
