"""Evidently's own judgement of windows, run by ``benchmarks.drift --peer-python`` with a Python that has evidently.

``python drift_evidently.py <reference.parquet> <window.parquet> ...`` prints a line of JSON for each window: the
package's version, and how many columns drifted by DataDriftPreset's defaults. Columns of texts are categories, others
are numbers; columns without any value in either file are left out, since evidently refuses them.
"""

import json
import sys
from importlib.metadata import version

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    before = pd.read_parquet(sys.argv[1])
    for path in sys.argv[2:]:
        now = pd.read_parquet(path)
        names = [name for name in before if before[name].notna().any() and now[name].notna().any()]
        numbers = [name for name in names if before[name].dtype.kind == "f"]
        definition = DataDefinition(
            numerical_columns=numbers, categorical_columns=[name for name in names if name not in numbers]
        )
        sets = [Dataset.from_pandas(frame[names], data_definition=definition) for frame in (now, before)]
        found = Report([DataDriftPreset()]).run(*sets).dict()["metrics"]
        (drifted,) = (each["value"]["count"] for each in found if "drift_share" in each["config"])
        print(json.dumps({"version": version("evidently"), "drifted": int(drifted)}), flush=True)


if __name__ == "__main__":
    main()
