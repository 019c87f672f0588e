"""Settings that have another name now: refused where they are typed, in a command or in YAML.

Where a run folder has them, :mod:`fraudlab.runs.formats` translates them.
"""

RENAMED: dict[str, str] = {
    "split.delay_days": "label_delay_days",
    "features.delay_days": "label_delay_days",
    "data.fraud_value": "data.fraud_values",
    "features.extended": "features=handbook_extended",
    "serving.record_files": "serving.record_days",
}
"""The whole key of old, and the one of today."""
GONE: dict[str, str] = {
    "serving.record_rows": "the record has a file an hour now",
}
"""Keys that nothing takes the place of, and why."""
