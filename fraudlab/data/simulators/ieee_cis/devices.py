"""Devices, their systems, browsers and screens, and how common each of them is."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fraudlab.data.simulators.ieee_cis.series import FORM_SEED, Floats

OPERATING_SYSTEMS = ("windows", "mac", "ios", "android", "linux")
OPERATING_SYSTEM_SHARE = (0.45, 0.125, 0.205, 0.21, 0.01)
VERSIONS: Mapping[str, Mapping[str, float]] = {
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
BROWSERS: Mapping[str, Mapping[str, float]] = {  # "{}" is the version of the day
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
SCREENS: Mapping[str, Mapping[str, float]] = {
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


def _devices() -> list[str]:
    """Some 1,600 names of Android devices, in no order of how common they are."""
    rng = np.random.default_rng(FORM_SEED)
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


ANDROIDS = _devices()


def pick(draw: Floats, weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Categories of uniform draws in [0, 1), in proportion to the weights."""
    total = np.cumsum(weights)
    return np.searchsorted(total / total[-1], draw, side="right").clip(0, len(total) - 1)


def by_device(
    device: NDArray[np.int8], draw: Floats, tables: Mapping[str, Mapping[str, float]]
) -> tuple[NDArray[np.int64], list[str]]:
    """Index and labels of a category whose table depends on the operating system."""
    labels: list[str] = []
    index = np.zeros(len(device), np.int64)
    for number, os in enumerate(OPERATING_SYSTEMS):
        own = np.flatnonzero(device == number)
        index[own] = len(labels) + pick(draw[own], list(tables[os].values()))
        labels.extend(tables[os])
    return index, labels
