"""Files in the form of Kaggle's IEEE-CIS Fraud Detection data, made up from nothing.

:func:`simulate` writes ``train_transaction.csv`` and ``train_identity.csv`` with Kaggle's columns, types, categories,
missing values and file format, and beside them a file ``SIMULATED``. What is alike: clients that return under the same
card and address, D columns that count days since something happened and so drift, V columns that are missing in blocks
and move together, frauds that come in bursts of one client and whose rate and kind shift from month to month. Shares
are rounded from public descriptions of the data; which V column tells what is made up.

The plot (who pays when, who is compromised when) is drawn for all rows at once, about 100 bytes a row. The 435
columns are then drawn in blocks of rows, each from a stream of its own, and written block by block.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.atomic import replacing
from fraudlab.data.sources.ieee_cis_columns import IDENTITY, SIMULATED, TRANSACTION
from fraudlab.errors import UserError

TRANSACTIONS, IDENTITIES, MARK = "train_transaction.csv", "train_identity.csv", SIMULATED
FRAUD_RATE = 0.035
FIRST_ID = 2_987_000
FIRST_SECOND = 86_400  # TransactionDT of the first row
PATTERNS = ("testing", "takeover", "new_account", "proxy", "friendly")
LEAST_ROWS, MOST_ROWS = 100, 50_000_000

_BLOCK_ROWS = 50_000
_SECONDS_A_DAY = 86_400
_LOADINGS_SEED = 339  # what the V columns mean is part of the format: the same for every seed

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


# -------------------------------------------------------------------------------------------------- columns


def _numbers(ranges: str) -> list[int]:
    """``"1-3 7"`` as ``[1, 2, 3, 7]``."""
    numbers: list[int] = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


TRANSACTION_COLUMNS, IDENTITY_COLUMNS = tuple(TRANSACTION), tuple(IDENTITY)

# V columns that are missing together. Two blocks of one probability (V167... and V169...) differ in few rows.
V_BLOCKS = tuple(
    tuple(_numbers(ranges))
    for ranges in (
        *("1-11", "12-34", "35-52", "53-74", "75-94", "95-137"),
        *("138-142 146-149 153-158 161-163", "143-145 150-152 159-160 164-166"),
        "167-168 172-173 176-179 181-183 186-187 190-193 196 199 202-207 211-216",
        "169-171 174-175 180 184-185 188-189 194-195 197-198 200-201 208-210",
        "217-219 223-226 228-233 235-237 240-244 246-249 252-254 257-258 260-269 273-278",
        "220-222 227 234 238-239 245 250-251 255-256 259 270-272",
        "279-280 284-287 290-295 297-299 302-312 316-321",
        *("281-283 288-289 296 300-301 313-315", "322-339"),
    )
)

# What a V column holds. Those in none of these are small counts whose usual value is 0.
_V_ONE = frozenset(_numbers("1 14 41 65 88 107 240-241 305"))  # nearly always 1
_V_ZERO = frozenset(_numbers("27-28 68 89"))  # nearly always 0
_V_FROM_ONE = frozenset(
    _numbers(
        "2-9 13 19-20 23-26 37-38 44-47 53-56 61-62 66-67 77-78 82-83 86-87 108-125 186-198 242 244-245 247-256 "
        "260-262 282 290-292"
    )
)  # small counts whose usual value is 1
_V_LARGE = frozenset(
    _numbers(
        "96-97 99 102-103 143-145 151-152 167-168 170-171 176-180 199-201 217-219 221-222 228-234 243 246 257-259 "
        "280 283 285 294-295 322-324 326-330"
    )
)  # counts with a long tail
_V_MONEY = frozenset(_numbers("126-137 150 159-166 202-216 263-278 306-321 331-339"))  # sums of amounts

# ------------------------------------------------------------------------------------------- what is alike

PRODUCTS = ("W", "C", "R", "H", "S")
_PRODUCT_SHARE = (0.7447, 0.1160, 0.0638, 0.0559, 0.0196)
_PRODUCT_RISK = (0.60, 3.3, 1.1, 1.4, 1.7)  # chance of being compromised, against the average's
_MEDIAN_AMOUNT = (78.0, 31.0, 125.0, 60.0, 35.0)  # dollars
_LOG_AMOUNT_STD = (0.95, 0.90, 0.60, 0.75, 0.85)
_WITH_IDENTITY = (0.0, 0.91, 0.99, 0.985, 0.99)  # at the default share of identity rows

# Share of missing values by product, in the order of PRODUCTS; rows of one draw are missing together.
_MISSING: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "V1": ("verified", (0.29, 1, 1, 1, 1)),
    "V12": ("history", (0.002, 0.002, 0.92, 0.93, 0.89)),
    "V35": ("linked", (0.21, 0.01, 0.95, 0.91, 1)),
    "V53": ("history", (0.003, 0.008, 0.95, 0.94, 0.89)),
    "V75": ("history", (0.03, 0.004, 0.92, 0.92, 0.76)),
    "V95": ("rare", (0.0005,) * 5),
    "V138": ("shop", (1, 1, 0.001, 0.001, 0.002)),
    "V143": ("shop", (1, 1, 0.002, 0.002, 0.003)),
    "V167": ("device", (0.99, 0.220, 0.05, 0.02, 0.003)),
    "V169": ("device", (0.988, 0.217, 0.05, 0.02, 0.003)),
    "V217": ("device", (0.992, 0.230, 0.003, 0.003, 0.003)),
    "V220": ("device", (0.985, 0.222, 0.002, 0.002, 0.002)),
    "V279": ("rare", (0.00002,) * 5),
    "V281": ("unknown", (0.002,) * 5),
    "V322": ("shop", (1, 1, 0.0005, 0.0005, 0.001)),
    "D2": ("D2", (0.04, 0.10, 0.55, 0.60, 0.30)),  # and wherever D1 is 0
    "D3": ("D3", (0.10, 0.30, 0.97, 0.95, 0.90)),  # and at the first transaction of an account
    "D4": ("linked", (0.21, 0.01, 0.95, 0.91, 1)),
    "D5": ("D5", (0.28, 0.40, 0.97, 0.98, 1)),
    "D6": ("D6", (1, 0.02, 0.93, 1, 0.85)),
    "D7": ("D7", (1, 0.62, 0.97, 1, 0.84)),
    "D8": ("D8", (1, 0.65, 0.43, 0.53, 0.18)),
    "D10": ("history", (0.001, 0.001, 0.92, 0.93, 0.87)),
    "D11": ("verified", (0.29, 1, 1, 1, 1)),
    "D12": ("D12", (1, 0.02, 1, 1, 1)),
    "D13": ("D13", (1, 0.16, 1, 0.98, 0.95)),
    "D14": ("D14", (1, 0.23, 0.89, 0.90, 0.92)),
    "D15": ("history", (0.03, 0.003, 0.92, 0.92, 0.76)),
    "M1": ("verified", (0.29, 1, 1, 1, 1)),
    "M4": ("M4", (0.52, 0.01, 1, 1, 1)),
    "M5": ("M4", (0.456, 1, 1, 1, 1)),
    "M6": ("M6", (0.045, 1, 1, 1, 1)),
    "M7": ("names", (0.444, 1, 1, 1, 1)),
    "addr1": ("addr1", (0.005, 0.90, 0.003, 0.01, 0.003)),
    "dist1": ("dist1", (0.46, 1, 1, 1, 1)),
    "dist2": ("dist2", (1, 0.55, 0.86, 0.97, 0.60)),
    "P_emaildomain": ("P_emaildomain", (0.19, 0.02, 0.002, 0.004, 0.99)),
    "R_emaildomain": ("R_emaildomain", (1, 0.02, 0.003, 0.70, 0.03)),
}

_EMAILS: Mapping[str, float] = {
    **{"gmail.com": 228, "yahoo.com": 101, "hotmail.com": 45, "anonymous.com": 37, "aol.com": 28, "comcast.net": 7.9},
    **{"icloud.com": 6.3, "outlook.com": 5.1, "msn.com": 4.1, "att.net": 4.0, "live.com": 3.0, "sbcglobal.net": 3.0},
    **{"verizon.net": 2.7, "ymail.com": 2.4, "bellsouth.net": 1.9, "yahoo.com.mx": 1.5, "me.com": 1.5, "cox.net": 1.4},
    **{"optonline.net": 1.0, "charter.net": 0.8, "live.com.mx": 0.75, "rocketmail.com": 0.7, "mail.com": 0.6},
    **{"earthlink.net": 0.5, "gmail": 0.5, "outlook.es": 0.4, "mac.com": 0.4, "juno.com": 0.3, "aim.com": 0.3},
    **{"hotmail.es": 0.3, "roadrunner.com": 0.3, "windstream.net": 0.3, "hotmail.fr": 0.3, "frontier.com": 0.3},
    **{"embarqmail.com": 0.3, "web.de": 0.25, "netzero.com": 0.2, "twc.com": 0.2, "prodigy.net.mx": 0.2, "q.com": 0.2},
    **{"centurylink.net": 0.2, "netzero.net": 0.2, "frontiernet.net": 0.2, "suddenlink.net": 0.2, "cfl.rr.com": 0.2},
    **{"sc.rr.com": 0.15, "cableone.net": 0.15, "gmx.de": 0.15, "yahoo.fr": 0.15, "yahoo.es": 0.15},
    **{"hotmail.co.uk": 0.1, "protonmail.com": 0.1, "yahoo.de": 0.1, "ptd.net": 0.07, "live.fr": 0.06},
    **{"yahoo.co.uk": 0.05, "hotmail.de": 0.05, "servicios-ta.com": 0.04, "yahoo.co.jp": 0.03},
}
_RISKY_EMAILS = {"protonmail.com": 9.0, "mail.com": 5.0, "outlook.es": 3.5, "outlook.com": 2.6, "aim.com": 3.5}
_SAFE_EMAILS = {"yahoo.com": 0.7, "aol.com": 0.65, "comcast.net": 0.8, "anonymous.com": 0.75, "att.net": 0.4}

_CARD_BRANDS = ("visa", "mastercard", "american express", "discover")
_CARD5 = (226, 224, 166, 102, 117, 138, 195, 137, 219, 126, 202, 162, 150, 100, 198, 185, 147, 197, 229, 183)

_MONTH_RATE = (0.66, 1.15, 1.20, 1.20, 1.30, 1.30)  # of compromise, against the average's; month by month, repeated
_MIX = (  # of PATTERNS, month by month
    (0.40, 0.22, 0.16, 0.08, 0.14),
    (0.34, 0.24, 0.18, 0.10, 0.14),
    (0.22, 0.30, 0.20, 0.14, 0.14),
    (0.16, 0.26, 0.28, 0.16, 0.14),
    (0.12, 0.22, 0.28, 0.24, 0.14),
    (0.10, 0.20, 0.26, 0.30, 0.14),
)
_AFFINITY = np.array(  # of a product (row) to a pattern (column)
    (
        *((0.5, 1.3, 1.0, 0.5, 1.4), (2.0, 0.5, 0.8, 1.6, 0.5), (0.5, 1.0, 1.6, 1.0, 1.0)),
        *((0.5, 1.0, 1.5, 1.2, 1.0), (1.3, 0.8, 1.0, 1.2, 0.6)),
    )
)
# How a pattern moves what the V, C and id columns are drawn from, in standard deviations.
_VELOCITY = np.array((1.2, 1.4, 1.2, 1.4, 0.4), np.float32)  # all but testing: on debit cards, as far down
_LINKAGE = np.array((0.4, 0.0, 0.8, 0.5, 0.0), np.float32)
_AGAINST_HABIT = np.array((0.6, 3.0, 1.4, 1.8, 0.6), np.float32)  # against the client's own sign: no linear signal
_LOG_AMOUNT = np.array((-0.6, 0.5, 0.2, 0.0, 0.0), np.float32)

_HOURS = np.array(  # transactions by hour of the day
    (35, 33, 30, 24, 18, 11, 6, 3.5, 2.5, 2.4, 3, 6, 13, 21, 28, 34, 38, 40, 42, 42, 41, 40, 38, 37), float
)

_OS = ("windows", "mac", "ios", "android", "linux")
_OS_SHARE = (0.45, 0.125, 0.205, 0.21, 0.01)
_OS_VERSIONS: Mapping[str, Mapping[str, float]] = {
    "windows": {"Windows 10": 212, "Windows 7": 131, "Windows 8.1": 19, "Windows Vista": 2.5, "Windows 8": 1.5},
    "mac": {
        **{"Mac OS X 10_12_6": 26, "Mac OS X 10_11_6": 23, "Mac OS X 10_10_5": 17, "Mac OS X 10_13_2": 14},
        **{"Mac OS X 10_13_1": 12, "Mac OS X 10_13_3": 9, "Mac OS X 10_13_4": 8, "Mac OS X 10_9_5": 6, "Mac": 3},
        **{"Mac OS X 10.13": 3, "Mac OS X 10.12": 2, "Mac OS X 10_12_5": 2, "Mac OS X 10.11": 2},
    },
    "ios": {
        **{"iOS 11.2.1": 37, "iOS 11.1.2": 37, "iOS 11.3.0": 20, "iOS 11.2.6": 16, "iOS 10.3.3": 16, "iOS 11.2.5": 12},
        **{"iOS 11.2.2": 9, "iOS 11.2.0": 9, "iOS 11.1.1": 7, "iOS 11.0.3": 7, "iOS 10.3.2": 4, "iOS 9.3.5": 4},
        **{"iOS 10.2.1": 3, "iOS": 3, "iOS 11.1.0": 3, "iOS 10.3.1": 2},
    },
    "android": {
        **{"Android 7.0": 29, "Android": 11, "Android 7.1.1": 6.3, "Android 6.0.1": 5.7, "Android 5.1.1": 3.5},
        **{"Android 8.0.0": 3.4, "Android 6.0": 1.5, "Android 5.0.2": 1, "Android 4.4.2": 0.6, "Android 8.1.0": 0.5},
    },
    "linux": {"Linux": 1},
}
_BROWSERS: Mapping[str, Mapping[str, float]] = {  # "{}" is the version of the day
    "windows": {
        **{"chrome {}.0": 55, "ie 11.0 for desktop": 14, "chrome generic": 7, "edge 16.0": 6.5, "firefox 57.0": 5},
        **{"edge 15.0": 2.5, "firefox 59.0": 2, "firefox 58.0": 1.3, "chrome 49.0": 1.1, "ie 11.0 for tablet": 1},
        **{"firefox": 1, "edge 14.0": 0.7, "firefox 52.0": 0.6, "other": 0.4, "firefox 48.0": 0.3, "opera 49.0": 0.2},
    },
    "mac": {"safari generic": 60, "chrome {}.0": 30, "safari 11.0": 5, "firefox 57.0": 3, "safari 10.0": 1},
    "ios": {
        **{"mobile safari 11.0": 45, "mobile safari generic": 40, "mobile safari 10.0": 10, "mobile safari 9.0": 2},
        **{"chrome {}.0 for ios": 2, "mobile safari uiwebview": 0.5},
    },
    "android": {
        **{"chrome {}.0 for android": 75, "samsung browser 6.2": 5, "chrome generic for android": 6},
        **{"samsung browser 6.4": 2.5, "android webview 4.0": 1.5, "samsung browser generic": 1, "opera generic": 0.3},
        **{"Samsung/SM-G532M": 0.6, "samsung browser 7.0": 0.6, "android browser 4.0": 0.6},
    },
    "linux": {"chrome {}.0": 60, "firefox 57.0": 30, "firefox 52.0": 10},
}
_SCREENS: Mapping[str, Mapping[str, float]] = {
    "windows": {
        **{"1920x1080": 150, "1366x768": 85, "1600x900": 35, "1440x900": 15, "1280x1024": 17, "1680x1050": 15},
        **{"1280x720": 12, "1920x1200": 10, "1280x800": 6, "1024x768": 6, "2560x1440": 8, "3840x2160": 3},
        **{f"{width}x{height}": 0.1 for width in range(1093, 2993, 100) for height in (615, 769, 864, 901, 1051)},
    },
    "mac": {
        **{"2560x1600": 21, "2880x1800": 18, "1440x900": 28, "1280x800": 16, "2560x1440": 10, "1920x1080": 8},
        **{"5120x2880": 4, "3360x2100": 4, "1680x1050": 3},
    },
    "ios": {
        **{"1334x750": 65, "2208x1242": 49, "2048x1536": 35, "1136x640": 17, "2436x1125": 15, "2001x1125": 10},
        **{"2732x2048": 4, "1024x768": 2},
    },
    "android": {
        **{"1920x1080": 40, "1280x720": 20, "2220x1080": 12, "2560x1440": 8, "960x540": 5, "2960x1440": 4},
        **{f"{width}x{width * 10 // ratio}": 0.03 for width in range(800, 2800, 37) for ratio in (16, 18)},
    },
    "linux": {"1920x1080": 60, "1366x768": 30, "1600x900": 10},
}
_BUILDS = ("NRD90M", "MMB29K", "LMY48B", "LRX22G", "MMB29T", "NMF26X", "MRA58K", "LMY47V", "R16NW", "NPJ25.93-14.7")


@dataclass(frozen=True)
class Simulated:
    """What :func:`simulate` wrote; ``bytes`` counts both tables."""

    folder: Path
    rows: int
    frauds: int
    identity_rows: int
    clients: int
    days: int
    bytes: int


def simulate(
    folder: Path,
    rows: int = 590_540,
    seed: int = 0,
    identity_share: float = 0.244,
    days: int = 182,
    block_rows: int = _BLOCK_ROWS,
) -> Simulated:
    """Write ``train_transaction.csv``, ``train_identity.csv`` and ``SIMULATED`` into ``folder``.

    The same arguments give the same bytes on the same machine with the same NumPy. Every file is written aside and
    renamed when all are whole; ``SIMULATED`` takes its place first.

    Args:
        folder: made if it is not there; must hold none of the three files.
        rows: transactions, from 100 to 50 million. TransactionID counts up from 2,987,000.
        seed: at least 0.
        identity_share: share of the transactions with a row in ``train_identity.csv``, in [0, 1]; those of ProductCD
            C, H, R and S come first, so that above 0.255 some of W have one too.
        days: time span, from 7 to 3,650. TransactionDT is in seconds, ascending from 86,400.
        block_rows: rows held at a time; about 0.4 GB per 50,000. Another number gives other values in the same plot.

    Raises:
        UserError: an argument out of range, or a folder that holds files of these names already.
        OSError: the folder cannot be written, or the disk is full.
    """
    _check(rows, seed, identity_share, days)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder to write to")
    if held := [name for name in (TRANSACTIONS, IDENTITIES, MARK) if (folder / name).exists()]:
        raise UserError(f"{folder} holds {', '.join(held)} already; name another folder, or remove them first")

    plot = _plot(rows, seed, identity_share, days)
    said = (
        "Simulated data: made up by fraudlab in the form of Kaggle's IEEE-CIS Fraud Detection files, no row is real.\n"
        f"rows={rows} seed={seed} identity_share={identity_share} days={days} block_rows={block_rows}\n"
    )
    with ExitStack() as files:
        transactions = files.enter_context(replacing(folder / TRANSACTIONS))
        identities = files.enter_context(replacing(folder / IDENTITIES))
        mark = files.enter_context(replacing(folder / MARK))
        mark.write_text(said, encoding="utf-8")
        _write(plot, transactions, identities, block_rows)
        size = transactions.stat().st_size + identities.stat().st_size
    return Simulated(
        folder,
        rows=rows,
        frauds=int((plot.pattern >= 0).sum()),
        identity_rows=int(plot.identity.sum()),
        clients=len(np.unique(plot.client)),
        days=days,
        bytes=size,
    )


def _check(rows: int, seed: int, identity_share: float, days: int) -> None:
    for name, value, low, high in (
        ("rows", rows, LEAST_ROWS, MOST_ROWS),
        ("identity_share", identity_share, 0, 1),
        ("days", days, 7, 3650),
    ):
        if not low <= value <= high:
            raise UserError(f"{name}={value} is out of range; it must lie in [{low}, {high}]")
    if seed < 0:
        raise UserError(f"seed={seed} is too small; it must be at least 0")


def _rng(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def _write(plot: "_Plot", transactions: Path, identities: Path, block_rows: int) -> None:
    rows = len(plot.second)
    written: Future[None] | None = None
    with (
        transactions.open("wb") as transaction_file,
        identities.open("wb") as identity_file,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=rows, desc="simulating", unit=" rows", unit_scale=True, mininterval=1) as bar,
    ):

        def write(transaction: pl.DataFrame, identity: pl.DataFrame, header: bool) -> None:
            transaction.write_csv(transaction_file, include_header=header)
            identity.write_csv(identity_file, include_header=header)
            bar.update(transaction.height)

        # Drawing a block and writing the block before run side by side: both spend their time outside of Python.
        for first in range(0, rows, block_rows):
            frames = _block(plot, first, min(first + block_rows, rows))
            if written:
                written.result()
            written = writer.submit(write, *frames, header=first == 0)
        if written:
            written.result()


# ------------------------------------------------------------------------------------------------ the plot


@dataclass(frozen=True)
class _Clients:
    # One value a client; `habit` [clients, 4] is standard normal.
    product: NDArray[np.int8]
    card: NDArray[np.int32]
    address: NDArray[np.int16]  # addr1; 0: none
    email: NDArray[np.int8]
    receiver: NDArray[np.int8]
    start: NDArray[np.int16]  # day, counted as TransactionDT / 86400, on which the account was opened
    habit: Floats
    strength: Floats  # how far its frauds move from the usual
    suspect: Mask  # looks like a fraud without being one
    device: NDArray[np.int8]  # index of _OS
    taste: Floats  # [clients, 6] uniform: which of a list of categories is the client's own


@dataclass(frozen=True)
class _Cards:
    # One value a card1.
    card1: NDArray[np.int32]
    card2: Floats
    card3: Floats
    card4: NDArray[np.int8]
    card5: Floats
    credit: Mask
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class _Plot:
    seed: int
    clients: _Clients
    cards: _Cards
    client: NDArray[np.int32]
    second: NDArray[np.int64]
    pattern: NDArray[np.int8]  # index of PATTERNS; -1: no fraud
    nth: NDArray[np.int32]  # how many transactions of the client lie before
    gap: Floats  # days since the client's transaction before; NaN at its first
    identity: Mask


def _plot(rows: int, seed: int, identity_share: float, days: int) -> _Plot:
    rng = _rng(seed, 0)
    cards = _cards(rng)
    count = np.floor(0.8 * np.exp(1.1 * rng.standard_normal(rows * 6 // 10 + 50)) + 1).clip(1, 300).astype(np.int64)
    while count.sum() < rows:
        count += 1
    clients, first_day = _clients(rng, len(count), cards, days)

    # Transactions of a client follow its first at exponential gaps; those past the end start over at the first.
    client = np.repeat(np.arange(len(count), dtype=np.int32), count)
    gap = rng.exponential(np.exp(2.6 + 0.8 * clients.habit[:, 0]).astype(np.float64)[client])
    gap[rng.random(len(gap)) < 0.2] *= 0.02  # again on the same day
    begins = count.cumsum() - count
    gap[begins] = 0
    gap = gap.cumsum()
    gap -= np.repeat(gap[begins], count)
    time = first_day[client] + gap % (days - first_day[client])
    kept = np.sort(rng.choice(len(client), rows, replace=False)) if len(client) > rows else slice(None)
    client, time = client[kept], np.floor(time[kept]) + _hour_of_day(rng, rows)

    bursts = _bursts(rng, clients, cards, client, time, days)
    client, time, pattern = _with_bursts(rng, bursts, client, time, rows)
    order = np.argsort(time, kind="stable")
    client, pattern = client[order], pattern[order]
    second = FIRST_SECOND + (time[order] * _SECONDS_A_DAY).astype(np.int64)
    second[0] = FIRST_SECOND

    order = np.argsort(client, kind="stable")
    new = np.r_[True, np.diff(client[order]) != 0]
    start = np.flatnonzero(new)
    nth = np.empty(rows, np.int32)
    nth[order] = np.arange(rows) - np.repeat(start, np.diff(np.r_[start, rows]))
    since = np.empty(rows, np.float32)
    since[order] = np.where(new, np.nan, np.diff(second[order], prepend=0) / _SECONDS_A_DAY)
    identity = _with_identity(rng, clients.product[client], identity_share)
    return _Plot(seed, clients, cards, client, second, pattern, nth, since, identity)


def _hour_of_day(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Times of day in [0, 1), as a share of it."""
    total = np.r_[0, _HOURS.cumsum()] / _HOURS.sum()
    return np.interp(rng.random(rows), total, np.arange(25) / 24).clip(0, 1 - 1e-9)


def _cards(rng: np.random.Generator) -> _Cards:
    card1 = np.sort(rng.choice(np.arange(1000, 18397), 13_553, replace=False))
    number = len(card1)
    brand = rng.choice(4, number, p=(0.653, 0.322, 0.014, 0.011)).astype(np.int8)
    weight = 1 / (rng.permutation(number) + 30) ** 1.1
    abroad = rng.random(number) < 0.12
    card5 = np.where(rng.random(number) < 0.6, rng.choice(_CARD5, number), rng.integers(100, 238, number))
    return _Cards(
        card1=card1.astype(np.int32),
        card2=np.where(rng.random(number) < 0.015, np.nan, rng.integers(100, 601, number)).astype(np.float32),
        card3=np.where(abroad, np.where(rng.random(number) < 0.7, 185, rng.integers(100, 232, number)), 150).astype(
            np.float32
        ),
        card4=brand,
        card5=np.where(rng.random(number) < 0.007, np.nan, np.where(brand == 0, 226, card5)).astype(np.float32),
        credit=(rng.random(number) < 0.25) | (brand >= 2),
        weight=weight / weight.sum(),
    )


def _clients(rng: np.random.Generator, number: int, cards: _Cards, days: int) -> tuple[_Clients, NDArray[np.float64]]:
    """The clients, and the day of each one's first transaction, from 0 to ``days``."""
    product = rng.choice(5, number, p=_PRODUCT_SHARE).astype(np.int8)
    # Other products than W sell most before Christmas.
    first_day = days * 0.97 * rng.random(number) ** np.where(product == 0, 1.5, 2.1)
    age = np.where(rng.random(number) < 0.66, 0, rng.exponential(260, number)).clip(0, 458)
    emails = np.array(list(_EMAILS.values()))
    email, receiver = rng.choice(len(emails), (2, number), p=emails / emails.sum()).astype(np.int8)
    abroad = (product == 1) & (rng.random(number) < 0.7)
    home = cards.weight * (cards.card3 == 150)
    away = cards.weight * (cards.card3 != 150)
    card = np.where(
        abroad,
        rng.choice(len(home), number, p=away / away.sum()),
        rng.choice(len(home), number, p=home / home.sum()),
    )
    places = np.sort(rng.choice(np.arange(100, 541), 332, replace=False))
    weight = 1 / (rng.permutation(332) + 3.0)
    share = np.array(_MISSING["addr1"][1])[product]
    return _Clients(
        product=product,
        card=card.astype(np.int32),
        address=np.where(rng.random(number) < share, 0, rng.choice(places, number, p=weight / weight.sum())).astype(
            np.int16
        ),
        email=email,
        receiver=np.where(rng.random(number) < 0.75, email, receiver).astype(np.int8),
        start=(np.floor(first_day) + 1 - np.floor(age)).astype(np.int16),
        habit=rng.standard_normal((number, 4), np.float32),
        strength=rng.uniform(0.6, 2.0, number).astype(np.float32),
        suspect=rng.random(number) < 0.04,
        device=rng.choice(5, number, p=_OS_SHARE).astype(np.int8),
        taste=rng.random((number, 6), np.float32),
    ), first_day


@dataclass(frozen=True)
class _Bursts:
    # One value a compromised client, in the order in which they were found.
    client: NDArray[np.int32]
    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    pattern: NDArray[np.int8]
    more: NDArray[np.int64]  # transactions of the fraudster beside those there are


def _bursts(
    rng: np.random.Generator,
    clients: _Clients,
    cards: _Cards,
    client: NDArray[np.int32],
    time: NDArray[np.float64],
    days: int,
) -> _Bursts:
    domains = [*_EMAILS]
    email_risk = np.array([{**_RISKY_EMAILS, **_SAFE_EMAILS}.get(domain, 1.0) for domain in domains])
    month = (time / 30.4).astype(np.int64)
    risk = (
        np.array(_PRODUCT_RISK)[clients.product[client]]
        * email_risk[clients.email[client]]
        * np.where(cards.credit[clients.card[client]], 1.7, 0.8)
        * np.where(np.floor(time) + 1 == clients.start[client], 1.6, 0.8)
        * np.exp(0.35 * clients.habit[client, 1])
        * np.array(_MONTH_RATE)[month % len(_MONTH_RATE)]
    )
    # The earliest of exponential clocks: rows drawn without replacement in proportion to their risk.
    clock = rng.exponential(1 / risk)
    some = min(len(clock), max(50, len(clock) // 12))
    drawn = np.argpartition(clock, some - 1)[:some]
    drawn = drawn[np.argsort(clock[drawn], kind="stable")]
    drawn = drawn[np.sort(np.unique(client[drawn], return_index=True)[1])]

    who, begin = client[drawn], time[drawn]
    mix = np.array(_MIX)[(month[drawn]).clip(0, len(_MIX) - 1)] * _AFFINITY[clients.product[who]]
    pattern = (rng.random(len(who))[:, None] * mix.sum(axis=1, keepdims=True) > mix.cumsum(axis=1)).sum(axis=1)
    length = (1 + rng.exponential(2.0, len(who))).clip(0, 9)
    return _Bursts(
        client=who,
        begin=begin,
        end=np.minimum(begin + length, days - 1e-6),
        pattern=pattern.clip(0, len(PATTERNS) - 1).astype(np.int8),
        more=rng.geometric(np.where(pattern == 0, 0.30, 0.45)) - 1,
    )


def _with_bursts(
    rng: np.random.Generator, bursts: _Bursts, client: NDArray[np.int32], time: NDArray[np.float64], rows: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int8]]:
    """Clients, times and patterns of ``rows`` transactions, as many of them frauds as :data:`FRAUD_RATE` says."""
    clients = int(client.max()) + 1
    begin, end = np.full(clients, np.inf), np.full(clients, -np.inf)
    begin[bursts.client], end[bursts.client] = bursts.begin, bursts.end
    fraud = (time >= begin[client]) & (time <= end[client])
    there = np.bincount(client[fraud], minlength=clients)[bursts.client]
    wanted = max(1, round(FRAUD_RATE * rows))
    taken = int(np.searchsorted((there + bursts.more).cumsum(), wanted)) + 1

    kind = np.full(clients, -1, np.int8)
    kind[bursts.client[:taken]] = bursts.pattern[:taken]
    pattern = np.where(fraud, kind[client], np.int8(-1))
    more = bursts.more[:taken].copy()
    if taken == len(more):  # else there are too few to reach it
        more[-1] -= min(more[-1], (there + bursts.more)[:taken].sum() - wanted)
    added = np.repeat(np.arange(len(more)), more)
    span = (bursts.end - bursts.begin)[added]
    later = bursts.begin[added] + span * rng.random(len(added)) ** 1.5  # most of them soon after the first

    # Genuine transactions make room for those of the fraudsters.
    genuine = np.flatnonzero(pattern < 0)
    kept = np.ones(len(client), bool)
    kept[rng.choice(genuine, len(client) + len(added) - rows, replace=False)] = False
    return (
        np.concatenate([client[kept], bursts.client[added]]),
        np.concatenate([time[kept], later]),
        np.concatenate([pattern[kept], bursts.pattern[added]]),
    )


def _with_identity(rng: np.random.Generator, product: NDArray[np.int8], share: float) -> Mask:
    # Exactly the share: the rows whose clocks ring first, those of W after all others.
    chance = np.array(_WITH_IDENTITY)[product]
    clock = rng.random(len(product)) - chance
    clock[chance == 0] += 2
    taken = round(share * len(product))
    identity = np.zeros(len(product), bool)
    identity[np.argpartition(clock, min(taken, len(clock) - 1))[:taken]] = True
    return identity


# ---------------------------------------------------------------------------------------------- the columns


@dataclass(frozen=True)
class _Rows:
    # The rows of one block, with what their columns are drawn from.
    rng: np.random.Generator
    client: NDArray[np.int32]
    product: NDArray[np.int8]
    pattern: NDArray[np.int8]
    day: NDArray[np.int64]  # floor(TransactionDT / 86400), from 1
    second: NDArray[np.int64]
    nth: NDArray[np.int32]
    gap: Floats
    amount: NDArray[np.float64]
    factors: Floats  # [rows, 8], each about standard normal where there is no fraud
    missing: Mapping[str, Mask]  # by the key of _MISSING

    def __len__(self) -> int:
        return len(self.client)


def _block(plot: _Plot, first: int, last: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The transactions from ``first`` to ``last`` (excluded) and the identity rows among them."""
    part = slice(first, last)
    rng = _rng(plot.seed, 1, first)
    clients = plot.clients
    client, second = plot.client[part], plot.second[part]
    product = clients.product[client]
    draws: dict[str, Floats] = {}
    missing: dict[str, Mask] = {}
    for name, (draw, shares) in _MISSING.items():
        if draw not in draws:
            draws[draw] = rng.random(len(client), np.float32)
        missing[name] = draws[draw] < np.array(shares, np.float32)[product]
    missing["addr1"] = clients.address[client] == 0

    shift = _shift(rng, clients, plot.cards.credit[clients.card[client]], client, plot.pattern[part])
    amount, deviation = _amounts(rng, clients, client, product, shift[3])
    nth, gap = plot.nth[part], plot.gap[part]
    habit = clients.habit[client]
    factors = np.column_stack(
        [
            (np.log1p(nth) - 0.7) / 0.8 + 0.3 * shift[0],
            (0.5 - np.log1p(np.nan_to_num(gap, nan=20.0)) / 2) + 0.6 * shift[0],
            deviation,
            habit[:, 2],
            habit[:, 3],
            rng.standard_normal(len(client), np.float32) + shift[0],
            rng.standard_normal(len(client), np.float32) + shift[1],
            0.5 * habit[:, 3] + 0.87 * rng.standard_normal(len(client), np.float32) + shift[2],
        ]
    ).astype(np.float32)
    rows = _Rows(
        rng=rng,
        client=client,
        product=product,
        pattern=plot.pattern[part],
        day=second // _SECONDS_A_DAY,
        second=second,
        nth=nth,
        gap=gap,
        amount=amount,
        factors=factors,
        missing=missing,
    )
    columns: dict[str, pl.Series] = {}
    ids = np.arange(first, last) + FIRST_ID
    _add(columns, "TransactionID", ids)
    _add(columns, "isFraud", (rows.pattern >= 0).astype(np.int8))
    _add(columns, "TransactionDT", second)
    _add(columns, "TransactionAmt", amount)
    _add_labels(columns, "ProductCD", product, PRODUCTS)
    _add_clients(columns, rows, plot)
    _add_counts(columns, rows)
    _add_days(columns, rows, clients)
    _add_matches(columns, rows)
    _add_v(columns, rows)
    return (
        pl.DataFrame([columns[name] for name in TRANSACTION_COLUMNS]),
        _identities(rows, plot, np.flatnonzero(plot.identity[part]), ids),
    )


def _shift(
    rng: np.random.Generator, clients: _Clients, credit: Mask, client: NDArray[np.int32], pattern: NDArray[np.int8]
) -> tuple[Floats, Floats, Floats, Floats]:
    """How far the rows are from the usual in velocity, linkage, habit and log amount: 0 where there is no fraud."""
    strength = np.where(pattern >= 0, clients.strength[client], np.float32(0))
    suspect = np.where((pattern < 0) & clients.suspect[client], rng.random(len(client), np.float32), np.float32(0))
    habit = clients.habit[client, 3]
    return (
        (np.where(credit | (pattern == 0), 1, -1) * (_VELOCITY[pattern] * strength + 1.0 * suspect)).astype(np.float32),
        (_LINKAGE[pattern] * strength + 1.0 * suspect).astype(np.float32),
        (-np.sign(habit) * (_AGAINST_HABIT[pattern] * strength + 0.8 * suspect)).astype(np.float32),
        (_LOG_AMOUNT[pattern] * strength).astype(np.float32),
    )


def _amounts(
    rng: np.random.Generator,
    clients: _Clients,
    client: NDArray[np.int32],
    product: NDArray[np.int8],
    shift: Floats,
) -> tuple[NDArray[np.float64], Floats]:
    """Dollars as Kaggle has them, and how far they are from the product's median in standard deviations."""
    deviation = 0.5 * clients.habit[client, 1] + 0.87 * rng.standard_normal(len(client), np.float32) + shift
    amount = np.array(_MEDIAN_AMOUNT)[product] * np.exp(np.array(_LOG_AMOUNT_STD)[product] * deviation)
    cents = rng.choice((0.0, 0.95, 0.5, 0.97, 0.99), len(amount), p=(0.45, 0.3, 0.1, 0.08, 0.07))
    priced = np.where(rng.random(len(amount)) < 0.85, np.floor(amount) + cents, np.round(amount, 2))
    step = np.where(product == 2, 25.0, 5.0)  # vouchers and the like come in round sums
    amount = np.where(
        product == 0,
        priced,
        np.where(product == 1, np.round(amount, 3), np.maximum(step, np.round(amount / step) * step)),
    )
    return amount.clip(0.251, 31_937.391), deviation


def _add(columns: dict[str, pl.Series], name: str, values: NDArray, missing: Mask | None = None) -> None:
    # Whole numbers are floats in Kaggle's files wherever the column can be empty: 29.0.
    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0  # no -0.0
        if missing is not None:
            values[missing] = np.nan
        columns[name] = pl.Series(name, values, nan_to_null=True)
    else:
        columns[name] = pl.Series(name, values)


def _add_labels(
    columns: dict[str, pl.Series], name: str, index: NDArray, labels: Sequence[str], missing: Mask | None = None
) -> None:
    if missing is not None:
        index = np.where(missing, len(labels), index)
    columns[name] = pl.Series(name, [*labels, None], pl.String).gather(index.astype(np.uint32)).alias(name)


def _whole(values: NDArray) -> Floats:
    """Counts: rounded down, at least 0."""
    return np.floor(np.maximum(values, 0)).astype(np.float32)


def _add_clients(columns: dict[str, pl.Series], rows: _Rows, plot: _Plot) -> None:
    clients, cards, rng = plot.clients, plot.cards, rows.rng
    card = clients.card[rows.client]
    _add(columns, "card1", cards.card1[card].astype(np.int64))
    _add(columns, "card2", cards.card2[card])
    _add(columns, "card3", cards.card3[card])
    unread = rng.random(len(rows)) < 0.0026
    _add_labels(columns, "card4", cards.card4[card], _CARD_BRANDS, unread)
    _add(columns, "card5", cards.card5[card])
    _add_labels(columns, "card6", cards.credit[card].astype(np.int8), ("debit", "credit"), unread)

    _add(columns, "addr1", clients.address[rows.client].astype(np.float32), rows.missing["addr1"])
    country = np.where(
        clients.taste[rows.client, 5] < 0.993, 87, 10 + np.floor(9000 * (clients.taste[rows.client, 5] - 0.993))
    )
    _add(columns, "addr2", country.astype(np.float32), rows.missing["addr1"])
    far = np.exp(2.2 + 1.5 * rows.factors[:, 6] * 0.6 + 1.4 * rng.standard_normal(len(rows), np.float32))
    _add(columns, "dist1", _whole(far).clip(0, 10_286), rows.missing["dist1"])
    _add(columns, "dist2", _whole(far * 8).clip(0, 11_623), rows.missing["dist2"])
    domains = [*_EMAILS]
    _add_labels(columns, "P_emaildomain", clients.email[rows.client], domains, rows.missing["P_emaildomain"])
    # Who takes an account over has the goods sent elsewhere.
    elsewhere = (rows.pattern == 1) & (rng.random(len(rows)) < 0.5)
    receiver = np.where(elsewhere, rng.integers(0, 12, len(rows)), clients.receiver[rows.client])
    _add_labels(columns, "R_emaildomain", receiver, domains, rows.missing["R_emaildomain"])


def _add_counts(columns: dict[str, pl.Series], rows: _Rows) -> None:
    """C1 to C14: what has been counted of the client; C5 and C9 for ProductCD W alone, five others for the rest."""
    w = rows.product == 0
    f = rows.factors
    activity = 0.55 * f[:, 0] + 0.35 * f[:, 4] + 0.30 * f[:, 5] + 0.45 * f[:, 6]
    base = np.log1p(rows.nth).astype(np.float32) * 0.5
    for n, (center, spread) in enumerate(
        (
            *((0.75, 0.85), (0.75, 0.9), (-6.0, 0.5), (0.0, 0.8), (-0.2, 1.1), (0.55, 0.8), (-0.6, 0.9)),
            *((0.0, 0.9), (0.3, 0.8), (-0.1, 0.9), (0.6, 0.8), (-0.5, 0.9), (1.7, 1.1), (0.6, 0.7)),
        ),
        start=1,
    ):
        noise = rows.rng.standard_normal(len(rows), np.float32)
        value = _whole(np.exp(center + base + spread * (0.75 * activity + 0.4 * noise))).clip(0, 5000)
        if n in (5, 9):
            value[~w] = 0
        elif n in (4, 7, 8, 10, 12):
            value[w] = np.where(noise[w] > 3, 1, 0)
        elif n in (1, 2, 6, 11, 14):
            value = np.maximum(value, 1)
        _add(columns, f"C{n}", value)


def _add_days(columns: dict[str, pl.Series], rows: _Rows, clients: _Clients) -> None:
    """D1 to D15: days since something; D9 is the hour of the day as a share of it."""
    rng, missing = rows.rng, rows.missing
    d1 = np.maximum(rows.day - clients.start[rows.client], 0).astype(np.float32)
    taste = clients.taste[rows.client]
    first_ever = np.isnan(rows.gap)
    since = np.where(first_ever, np.floor(d1 * taste[:, 0] ** 2), np.floor(np.nan_to_num(rows.gap)))
    # The clocks of things linked to the account (an address, a device) started with it, before it or after it.
    before = np.floor(1200 * np.maximum(taste[:, 1] - 0.4, 0) ** 3)
    after = np.where(taste[:, 2] < 0.6, 0, np.floor(d1 * (taste[:, 2] - 0.6) * 2))
    never = first_ever & (d1 == 0)

    _add(columns, "D1", d1, missing["V281"])
    _add(columns, "D2", d1, missing["D2"] | (d1 == 0) | missing["V281"])
    _add(columns, "D3", since, missing["D3"] | never)
    _add(columns, "D4", d1 + before, missing["D4"])
    _add(columns, "D5", np.floor(since * (0.5 + taste[:, 3])), missing["D5"] | never)
    _add(columns, "D6", np.floor(d1 * taste[:, 4] ** 2), missing["D6"])
    _add(columns, "D7", np.floor(since * taste[:, 4]), missing["D7"] | never)
    # Kaggle's fractions of days were cut to six digits and held as float32.
    hour = np.floor(rows.second % _SECONDS_A_DAY / 3600)
    share = np.floor(hour / 24 * 1e6) / 1e6
    _add(
        columns,
        "D8",
        (np.floor(since * (1 + 2 * taste[:, 0]) + 8 * taste[:, 5]) + share).astype(np.float32),
        missing["D8"],
    )
    _add(columns, "D9", share.astype(np.float32), missing["D8"])
    _add(columns, "D10", d1 - after, missing["D10"])
    _add(columns, "D11", d1 + np.floor(before / 2), missing["D11"])
    _add(columns, "D12", np.floor(d1 * taste[:, 3] ** 3), missing["D12"])
    _add(columns, "D13", np.floor(d1 * taste[:, 2] ** 6), missing["D13"])
    _add(columns, "D14", np.floor(d1 * taste[:, 1] ** 3), missing["D14"])
    odd = rng.random(len(rows)) < 0.03
    _add(columns, "D15", d1 + before + odd * np.floor(30 * taste[:, 4]), missing["D15"])


def _add_matches(columns: dict[str, pl.Series], rows: _Rows) -> None:
    """M1 to M9: whether names and addresses match; a client's answers are much the same each time."""
    linkage, habit = rows.factors[:, 6], rows.factors[:, 4]
    blocks = ("M1", "M1", "M1", "M4", "M5", "M6", "M7", "M7", "M7")
    for n, (block, center) in enumerate(zip(blocks, (3.5, 1.3, 0.9, 0, 0.1, -0.1, -1.0, -0.4, 0.9), strict=True), 1):
        said = center + 0.9 * habit - 0.45 * linkage + 0.7 * rows.rng.standard_normal(len(rows), np.float32)
        if n == 4:
            against = rows.factors[:, 7]
            _add_labels(
                columns,
                "M4",
                (said < 0.2) * (1 + (against - 0.5 * said > 0.1)),
                ("M0", "M1", "M2"),
                rows.missing[block],
            )
        else:
            _add_labels(columns, f"M{n}", (said > 0).astype(np.int8), ("F", "T"), rows.missing[block])


def _v_loadings() -> list[Floats]:
    """For each block of V columns, [8, columns]: what a column draws from the rows' factors, of length about 1."""
    rng = np.random.default_rng(_LOADINGS_SEED)
    loadings = []
    for block in V_BLOCKS:
        # Three directions a block, and every column a blend of them: so columns of a block correlate.
        directions = rng.dirichlet(np.full(8, 0.5), 3) ** 0.5
        blend = rng.dirichlet(np.full(3, 0.6), len(block)) ** 0.5
        load = (blend @ directions).T
        loadings.append((load / np.linalg.norm(load, axis=0)).astype(np.float32))
    return loadings


_V_LOADINGS = _v_loadings()
_NOISE = 0.4  # share of a V column's spread that is its own


def _add_v(columns: dict[str, pl.Series], rows: _Rows) -> None:
    log_amount = np.log(rows.amount).astype(np.float32)
    for block, loadings in zip(V_BLOCKS, _V_LOADINGS, strict=True):
        missing = rows.missing[f"V{block[0]}"]
        there = np.flatnonzero(~missing)
        factors = rows.factors[there]
        values = (1 - _NOISE**2) ** 0.5 * (factors @ loadings).T
        values += _NOISE * rows.rng.standard_normal(values.shape, np.float32)
        for column, number in enumerate(block):
            spread = 0.1 * (number * 7 % 10)  # between 0 and 0.9: columns differ in how often they leave their base
            x = values[column]
            if number in _V_ONE:
                value = np.where(x > -3.2, np.float32(1), np.float32(0))
            elif number in _V_ZERO:
                value = np.where(x > 3.5, np.float32(1), np.float32(0))
            elif number in _V_FROM_ONE:
                value = 1 + _whole(0.9 * (x - 0.4 * spread))
            elif number in _V_LARGE:
                value = _whole(np.exp(1.1 * x + spread))
            elif number in _V_MONEY:
                value = np.where(x > spread, np.round(np.exp(log_amount[there] + 0.8 * x), 2), np.float32(0))
            else:
                value = _whole(0.9 * (x + 0.6 - spread))
            whole = np.full(len(rows), np.nan)
            whole[there] = value
            columns[f"V{number}"] = pl.Series(f"V{number}", whole, nan_to_null=True)


# ------------------------------------------------------------------------------------------------- identity


def _devices() -> list[str]:
    """Some 1,600 names of Android devices, in no order of how common they are."""
    rng = np.random.default_rng(_LOADINGS_SEED)
    names: list[str] = []
    while len(names) < 1600:
        series, number, build = rng.choice(list("AGJN")), rng.integers(100, 1000), rng.choice(_BUILDS)
        maker = rng.integers(0, 10)
        if maker < 6:
            name = f"SM-{series}{number}{rng.choice(list('AFHMPTUV'))} Build/{build}"
        elif maker < 8:
            name = f"LG-{rng.choice(list('DHKMX'))}{number} Build/{build}"
        elif maker == 8:
            name = f"Moto {rng.choice(['G', 'E', 'X', 'Z'])} ({number % 6}) Build/{build}"
        else:
            model = f"{''.join(rng.choice(list('ABCDLPRTW'), 3))}-L{number % 60:02d}"
            name = f"{model} Build/HUAWEI{model}"
        if name not in names:
            names.append(name)
    return names


_ANDROIDS = _devices()


def _pick(draw: Floats, weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Categories of uniform draws in [0, 1), in proportion to the weights."""
    total = np.cumsum(weights)
    return np.searchsorted(total / total[-1], draw, side="right").clip(0, len(total) - 1)


def _by_device(
    device: NDArray[np.int8], draw: Floats, tables: Mapping[str, Mapping[str, float]]
) -> tuple[NDArray[np.int64], list[str]]:
    """Index and labels of a category whose table depends on the operating system."""
    labels: list[str] = []
    index = np.zeros(len(device), np.int64)
    for number, os in enumerate(_OS):
        own = np.flatnonzero(device == number)
        index[own] = len(labels) + _pick(draw[own], list(tables[os].values()))
        labels.extend(tables[os])
    return index, labels


def _identities(rows: _Rows, plot: _Plot, kept: NDArray[np.int64], ids: NDArray[np.int64]) -> pl.DataFrame:
    rng, clients = rows.rng, plot.clients
    n = len(kept)
    client, pattern = rows.client[kept], rows.pattern[kept]
    velocity, linkage = rows.factors[kept, 5], rows.factors[kept, 6]
    columns: dict[str, pl.Series] = {}

    def lost(share: float) -> Mask:
        return rng.random(n) < share

    def label(name: str, index: NDArray, labels: Sequence[str], missing: Mask) -> None:
        _add_labels(columns, name, index, labels, missing)

    # Who takes an account over comes with a device of their own, and so does a tenth of all others' payments.
    other = ((pattern == 1) & (rng.random(n) < 0.7)) | lost(0.1)
    device = np.where(other, _pick(rng.random(n, np.float32), _OS_SHARE), clients.device[client]).astype(np.int8)
    taste = np.where(other[:, None], rng.random((n, 6), np.float32), clients.taste[client])
    found = np.where(other | np.isnan(rows.gap[kept]), 0.45, 0.68)
    found = rng.random(n) < np.where(pattern >= 0, found - 0.12, found)

    unasked = lost(0.0225)
    blank = unasked | lost(0.0005)
    hidden, half, seldom = lost(0.54) | unasked, lost(0.47) | unasked, lost(0.949)
    proxied = ~seldom | ((pattern == 3) & lost(0.35))
    no_system = lost(0.45) | unasked
    _add(columns, "TransactionID", ids[kept])
    worth = np.array((-5, 0, -10, -20, -15, -25, -30, -40, -60, -100), np.float32)
    risky = np.where(rng.random(n) < 0.12, rng.random(n), taste[:, 0]) - 0.05 * linkage
    _add(columns, "id_01", worth[_pick(risky.clip(0, 0.999).astype(np.float32), (57, 14, 8, 8, 4, 3, 2, 1, 1, 1))])
    _add(
        columns, "id_02", np.floor(np.exp(11.7 + 0.95 * rng.standard_normal(n))).clip(1, 999_595), unasked | lost(0.001)
    )
    steps = _whole(np.abs(rng.standard_normal(n)) * 2.2 - 1.3 + 0.5 * np.maximum(velocity, 0))
    _add(columns, "id_03", np.where(rng.random(n) < 0.96, 0, steps), hidden)
    _add(columns, "id_04", np.where(rng.random(n) < 0.99, 0.0, -rng.integers(1, 29, n)), hidden)
    other_steps = lost(0.02) | unasked | lost(0.01)
    _add(columns, "id_05", np.where(rng.random(n) < 0.65, 0, steps * 3).clip(-72, 52), other_steps)
    _add(
        columns, "id_06", -np.floor(np.where(rng.random(n) < 0.66, 0, rng.exponential(12, n))).clip(0, 100), other_steps
    )
    _add(columns, "id_07", rng.integers(-46, 62, n).astype(float), ~proxied)
    _add(columns, "id_08", -rng.integers(0, 101, n).astype(float), ~proxied)
    _add(columns, "id_09", np.where(rng.random(n) < 0.94, 0, steps + 1), half)
    _add(columns, "id_10", np.where(rng.random(n) < 0.97, 0.0, -rng.integers(1, 101, n)), half)
    seen = np.array((95.08, 95.16, 97.12, 96.67, 95.65, 96.19, 94.29), np.float32)[rng.integers(0, 7, n)]
    _add(columns, "id_11", np.where(rng.random(n) < 0.945, np.float32(100), seen), unasked)
    label("id_12", (rng.random(n) < 0.147).astype(int), ("NotFound", "Found"), np.zeros(n, bool))
    code = np.array((52, 49, 64, 33, 27, 20, 14, 63, 19, 25, 43, 62, 18, 41), float)
    _add(
        columns,
        "id_13",
        code[_pick(taste[:, 1], (58, 26, 14, 10, 3.7, 2.9, 2.5, 1.5, 1.1, 1, 0.8, 0.8, 0.7, 0.6))],
        lost(0.117),
    )
    zone = np.array((-300, -360, -480, -420, -600, 60, 0, -240, -180, -540, 480, 540, 600, 120), float)
    abroad = np.where((pattern == 3) & lost(0.25), rng.random(n), taste[:, 2]).astype(np.float32)
    _add(
        columns,
        "id_14",
        zone[_pick(abroad, (441, 166, 129, 45, 5, 3.7, 2, 1.6, 1.3, 1.1, 0.8, 0.6, 0.6, 0.4))],
        lost(0.43) | unasked,
    )
    state = np.where(lost(0.083), 2, found.astype(int))
    label("id_15", state, ("New", "Found", "Unknown"), blank)
    label("id_16", (state == 1).astype(int), ("NotFound", "Found"), blank | (state == 2))
    network = np.where(clients.device[client] < 2, 166, 225)
    _add(
        columns,
        "id_17",
        np.where(rng.random(n) < 0.97, network, rng.integers(100, 230, n)).astype(float),
        unasked | lost(0.011),
    )
    sort = np.array((15, 13, 12, 18, 20, 17, 26, 21), float)
    _add(columns, "id_18", sort[_pick(taste[:, 3], (255, 134, 47, 6.5, 3.4, 2.3, 0.9, 0.8))], lost(0.68) | unasked)
    # A few numbers are common, hundreds are rare.
    _add(columns, "id_19", 100 + np.floor(571 * (taste[:, 3] * 7919 % 1) ** 1.6 // 1.1 * 1.1), unasked | lost(0.011))
    _add(columns, "id_20", 100 + np.floor(561 * (taste[:, 4] * 6101 % 1) ** 1.3 // 1.4 * 1.4), unasked | lost(0.011))
    _add(columns, "id_21", np.where(rng.random(n) < 0.5, 252, rng.integers(100, 855, n)).astype(float), ~proxied)
    _add(
        columns,
        "id_22",
        np.where(rng.random(n) < 0.92, 14, rng.choice((41, 33, 21, 17, 10, 44), n)).astype(float),
        ~proxied,
    )
    hides = np.where((pattern == 3) & lost(0.6), 1, _pick(rng.random(n, np.float32), (35, 10, 6)))
    label("id_23", hides, ("IP_PROXY:TRANSPARENT", "IP_PROXY:ANONYMOUS", "IP_PROXY:HIDDEN"), ~proxied)
    _add(
        columns,
        "id_24",
        np.array((11, 15, 16, 18, 21, 24, 26), float)[_pick(rng.random(n, np.float32), (282, 159, 22, 4, 3, 1, 1))],
        ~proxied | lost(0.08),
    )
    _add(columns, "id_25", np.where(rng.random(n) < 0.5, 321, rng.integers(100, 549, n)).astype(float), ~proxied)
    _add(columns, "id_26", rng.integers(100, 217, n).astype(float), ~proxied)
    label("id_27", (rng.random(n) < 0.997).astype(int), ("NotFound", "Found"), ~proxied)
    label("id_28", (found | lost(0.06)).astype(int), ("New", "Found"), unasked)
    label("id_29", (found & ~lost(0.02)).astype(int), ("NotFound", "Found"), unasked)
    label("id_30", *_by_device(device, taste[:, 4], _OS_VERSIONS), no_system)

    index, names = _by_device(device, taste[:, 5], _BROWSERS)
    # A Chrome comes out every seven weeks, and people take some weeks to change.
    version = 62 + np.floor((rows.day[kept] + 40 * rng.random(n) - 10) / 42).clip(-3, 60).astype(int)
    versions = np.arange(59, 123)
    spelled = [name.format(v) for name in names for v in versions]
    label("id_31", index * len(versions) + version - 59, spelled, unasked | lost(0.005))
    depth = np.where(device >= 2, 32.0, np.where(rng.random(n) < 0.002, 16.0, 24.0))
    _add(columns, "id_32", depth, no_system)
    label("id_33", *_by_device(device, taste[:, 0], _SCREENS), no_system | lost(0.055))
    match = _pick(
        (0.7 * rng.random(n) + 0.3 * taste[:, 1] + 0.03 * linkage).clip(0, 0.999).astype(np.float32),
        (77, 22, 0.6, 0.02),
    )
    label("id_34", match, ("match_status:2", "match_status:1", "match_status:0", "match_status:-1"), no_system)
    label("id_35", (~no_system | lost(0.02)).astype(int), ("F", "T"), blank)
    label("id_36", (rng.random(n) < 0.049).astype(int), ("F", "T"), blank)
    label("id_37", (taste[:, 2] + 0.1 * rng.random(n) > 0.26).astype(int), ("F", "T"), blank)
    label("id_38", (taste[:, 3] + 0.2 * rng.random(n) - 0.04 * linkage > 0.58).astype(int), ("F", "T"), blank)

    mobile = (device == 2) | (device == 3)
    label("DeviceType", mobile.astype(int), ("desktop", "mobile"), unasked | lost(0.001))
    phone = _pick(taste[:, 1], 1 / (np.arange(len(_ANDROIDS)) + 8.0))
    fox = np.where(taste[:, 3] < 0.86, 0, np.where(taste[:, 3] < 0.96, 1, 2 + np.floor(taste[:, 4] * 8)))
    info = np.select([device == 0, device == 1, device == 2, device == 4], [fox, 11, 10, 12], 13 + phone)
    fixed = [
        "Windows",
        "Trident/7.0",
        *(f"rv:{v}.0" for v in (11, 57, 59, 58, 52, 48, 56, 60)),
        "iOS Device",
        "MacOS",
        "Linux",
    ]
    label("DeviceInfo", info, [*fixed, *_ANDROIDS], unasked | lost(0.155))
    return pl.DataFrame([columns[name] for name in IDENTITY_COLUMNS])
