"""Which columns are missing together, and how often; shares from public descriptions and a sample."""

from collections.abc import Mapping

# Share of missing values by product, in the order of PRODUCTS; rows of one draw are missing together.
MISSING_SHARES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "V1": ("verified", (0.17, 1, 1, 1, 1)),
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
    "D2": ("D2", (0.01, 0.01, 0.01, 0.01, 0.01)),  # and wherever D1 is 0
    "D3": ("D3", (0.001, 0.001, 0.95, 0.60, 0.90)),  # and at the first transaction of an account
    "D4": ("linked", (0.21, 0.01, 0.95, 0.91, 1)),
    "D5": ("D5", (0.32, 0.10, 0.97, 0.98, 1)),
    "D6": ("D6", (1, 0.02, 0.93, 1, 0.85)),
    "D7": ("D5", (1, 0.10, 0.97, 1, 0.84)),
    "D8": ("D8", (1, 0.65, 0.43, 0.53, 0.18)),
    "D10": ("history", (0.001, 0.001, 0.92, 0.93, 0.87)),
    "D11": ("verified", (0.17, 1, 1, 1, 1)),
    "D12": ("D12", (1, 0.02, 1, 1, 1)),
    "D13": ("D13", (1, 0.16, 1, 0.98, 0.95)),
    "D14": ("D14", (1, 0.23, 0.89, 0.90, 0.92)),
    "D15": ("history", (0.03, 0.003, 0.92, 0.92, 0.76)),
    "M1": ("verified", (0.17, 1, 1, 1, 1)),
    "M4": ("M4", (0.52, 0.01, 1, 1, 1)),
    "M5": ("M4", (0.456, 1, 1, 1, 1)),
    "M6": ("M6", (0.045, 1, 1, 1, 1)),
    "M7": ("verified", (0.30, 1, 1, 1, 1)),
    "addr1": ("addr1", (0.005, 0.90, 0.003, 0.01, 0.003)),
    "dist1": ("dist1", (0.46, 1, 1, 1, 1)),
    "dist2": ("dist2", (1, 0.55, 0.86, 0.97, 0.60)),
    "P_emaildomain": ("P_emaildomain", (0.19, 0.02, 0.002, 0.004, 0.99)),
    "R_emaildomain": ("R_emaildomain", (1, 0.02, 0.003, 0.70, 0.03)),
}
# More of W is missing on the first day, by this share; it fades as exp(-days / FADES_IN).
MORE_AT_FIRST: Mapping[str, float] = {"V1": 0.32, "D11": 0.32, "M1": 0.32, "M7": 0.465}
FADES_IN = 60.0
