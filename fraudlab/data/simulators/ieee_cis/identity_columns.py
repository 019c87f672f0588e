"""The columns of the identity table."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.devices import (
    ANDROIDS,
    BROWSERS,
    OPERATING_SYSTEM_SHARE,
    SCREENS,
    VERSIONS,
    by_device,
    pick,
)
from fraudlab.data.simulators.ieee_cis.plot import SimulationPlan
from fraudlab.data.simulators.ieee_cis.rows import Rows
from fraudlab.data.simulators.ieee_cis.series import Mask, add, add_labels, counted
from fraudlab.data.sources.ieee_cis_columns import IDENTITY


def identities(rows: Rows, plot: SimulationPlan, kept: NDArray[np.int64], ids: NDArray[np.int64]) -> pl.DataFrame:
    """The identity rows at positions ``kept`` of a block whose transactions are ``ids``."""
    rng, clients = rows.rng, plot.clients
    n = len(kept)
    client, pattern = rows.client[kept], rows.pattern[kept]
    velocity, linkage = rows.factors[kept, 5], rows.factors[kept, 6]
    columns: dict[str, pl.Series] = {}

    def lost(share: float) -> Mask:
        return rng.random(n) < share

    def label(name: str, index: NDArray, labels: Sequence[str], missing: Mask) -> None:
        add_labels(columns, name, index, labels, missing)

    # Who takes an account over comes with a device of their own, and so does a tenth of all others' payments.
    other = ((pattern == 1) & (rng.random(n) < 0.7)) | lost(0.1)
    device = np.where(other, pick(rng.random(n, np.float32), OPERATING_SYSTEM_SHARE), clients.device[client]).astype(
        np.int8
    )
    taste = np.where(other[:, None], rng.random((n, 6), np.float32), clients.taste[client])
    found = np.where(other | np.isnan(rows.gap[kept]), 0.45, 0.68)
    found = rng.random(n) < np.where(pattern >= 0, found - 0.12, found)

    unasked = lost(0.0225)
    blank = unasked | lost(0.0005)
    hidden, half, seldom = lost(0.54) | unasked, lost(0.47) | unasked, lost(0.949)
    proxied = ~seldom | ((pattern == 3) & lost(0.35))
    no_system = lost(0.45) | unasked
    add(columns, "TransactionID", ids[kept])
    worth = np.array((-5, 0, -10, -20, -15, -25, -30, -40, -60, -100), np.float32)
    risky = np.where(rng.random(n) < 0.12, rng.random(n), taste[:, 0]) - 0.05 * linkage
    add(columns, "id_01", worth[pick(risky.clip(0, 0.999).astype(np.float32), (57, 14, 8, 8, 4, 3, 2, 1, 1, 1))])
    add(
        columns, "id_02", np.floor(np.exp(11.7 + 0.95 * rng.standard_normal(n))).clip(1, 999_595), unasked | lost(0.001)
    )
    steps = counted(np.abs(rng.standard_normal(n)) * 2.2 - 1.3 + 0.5 * np.maximum(velocity, 0))
    add(columns, "id_03", np.where(rng.random(n) < 0.96, 0, steps), hidden)
    add(columns, "id_04", np.where(rng.random(n) < 0.99, 0.0, -rng.integers(1, 29, n)), hidden)
    other_steps = lost(0.02) | unasked | lost(0.01)
    add(columns, "id_05", np.where(rng.random(n) < 0.65, 0, steps * 3).clip(-72, 52), other_steps)
    add(
        columns, "id_06", -np.floor(np.where(rng.random(n) < 0.66, 0, rng.exponential(12, n))).clip(0, 100), other_steps
    )
    add(columns, "id_07", rng.integers(-46, 62, n).astype(float), ~proxied)
    add(columns, "id_08", -rng.integers(0, 101, n).astype(float), ~proxied)
    add(columns, "id_09", np.where(rng.random(n) < 0.94, 0, steps + 1), half)
    add(columns, "id_10", np.where(rng.random(n) < 0.97, 0.0, -rng.integers(1, 101, n)), half)
    seen = np.array((95.08, 95.16, 97.12, 96.67, 95.65, 96.19, 94.29), np.float32)[rng.integers(0, 7, n)]
    add(columns, "id_11", np.where(rng.random(n) < 0.945, np.float32(100), seen), unasked)
    label("id_12", (rng.random(n) < 0.147).astype(int), ("NotFound", "Found"), np.zeros(n, bool))
    code = np.array((52, 49, 64, 33, 27, 20, 14, 63, 19, 25, 43, 62, 18, 41), float)
    add(
        columns,
        "id_13",
        code[pick(taste[:, 1], (58, 26, 14, 10, 3.7, 2.9, 2.5, 1.5, 1.1, 1, 0.8, 0.8, 0.7, 0.6))],
        lost(0.117),
    )
    zone = np.array((-300, -360, -480, -420, -600, 60, 0, -240, -180, -540, 480, 540, 600, 120), float)
    abroad = np.where((pattern == 3) & lost(0.25), rng.random(n), taste[:, 2]).astype(np.float32)
    add(
        columns,
        "id_14",
        zone[pick(abroad, (441, 166, 129, 45, 5, 3.7, 2, 1.6, 1.3, 1.1, 0.8, 0.6, 0.6, 0.4))],
        lost(0.43) | unasked,
    )
    state = np.where(lost(0.083), 2, found.astype(int))
    label("id_15", state, ("New", "Found", "Unknown"), blank)
    label("id_16", (state == 1).astype(int), ("NotFound", "Found"), blank | (state == 2))
    network = np.where(clients.device[client] < 2, 166, 225)
    add(
        columns,
        "id_17",
        np.where(rng.random(n) < 0.97, network, rng.integers(100, 230, n)).astype(float),
        unasked | lost(0.011),
    )
    sort = np.array((15, 13, 12, 18, 20, 17, 26, 21), float)
    add(columns, "id_18", sort[pick(taste[:, 3], (255, 134, 47, 6.5, 3.4, 2.3, 0.9, 0.8))], lost(0.68) | unasked)
    # A few numbers are common, hundreds are rare.
    add(columns, "id_19", 100 + np.floor(571 * (taste[:, 3] * 7919 % 1) ** 1.6 // 1.1 * 1.1), unasked | lost(0.011))
    add(columns, "id_20", 100 + np.floor(561 * (taste[:, 4] * 6101 % 1) ** 1.3 // 1.4 * 1.4), unasked | lost(0.011))
    add(columns, "id_21", np.where(rng.random(n) < 0.5, 252, rng.integers(100, 855, n)).astype(float), ~proxied)
    add(
        columns,
        "id_22",
        np.where(rng.random(n) < 0.92, 14, rng.choice((41, 33, 21, 17, 10, 44), n)).astype(float),
        ~proxied,
    )
    hides = np.where((pattern == 3) & lost(0.6), 1, pick(rng.random(n, np.float32), (35, 10, 6)))
    label("id_23", hides, ("IP_PROXY:TRANSPARENT", "IP_PROXY:ANONYMOUS", "IP_PROXY:HIDDEN"), ~proxied)
    add(
        columns,
        "id_24",
        np.array((11, 15, 16, 18, 21, 24, 26), float)[pick(rng.random(n, np.float32), (282, 159, 22, 4, 3, 1, 1))],
        ~proxied | lost(0.08),
    )
    add(columns, "id_25", np.where(rng.random(n) < 0.5, 321, rng.integers(100, 549, n)).astype(float), ~proxied)
    add(columns, "id_26", rng.integers(100, 217, n).astype(float), ~proxied)
    label("id_27", (rng.random(n) < 0.997).astype(int), ("NotFound", "Found"), ~proxied)
    label("id_28", (found | lost(0.06)).astype(int), ("New", "Found"), unasked)
    label("id_29", (found & ~lost(0.02)).astype(int), ("NotFound", "Found"), unasked)
    label("id_30", *by_device(device, taste[:, 4], VERSIONS), no_system)

    index, names = by_device(device, taste[:, 5], BROWSERS)
    # A Chrome comes out every seven weeks, and people take some weeks to change.
    version = 62 + np.floor((rows.day[kept] + 40 * rng.random(n) - 10) / 42).clip(-3, 60).astype(int)
    versions = np.arange(59, 123)
    spelled = [name.format(v) for name in names for v in versions]
    label("id_31", index * len(versions) + version - 59, spelled, unasked | lost(0.005))
    depth = np.where(device >= 2, 32.0, np.where(rng.random(n) < 0.002, 16.0, 24.0))
    add(columns, "id_32", depth, no_system)
    label("id_33", *by_device(device, taste[:, 0], SCREENS), no_system | lost(0.055))
    match = pick(
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
    phone = pick(taste[:, 1], 1 / (np.arange(len(ANDROIDS)) + 8.0))
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
    label("DeviceInfo", info, [*fixed, *ANDROIDS], unasked | lost(0.155))
    return pl.DataFrame([columns[name] for name in IDENTITY])
