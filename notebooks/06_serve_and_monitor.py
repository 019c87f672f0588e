# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Serve a model and watch it
#
# From a run to a server, from its answers to a record, and from the record to the question whether the model still
# sees what it learnt from. All of it runs on this machine, with **simulated** card transactions.

# %%
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from fraudlab.api import load_table, train

SMALL = [
    "data.customers=700",
    "data.terminals=1400",
    "data.days=98",
    "split.train_start=2018-05-27",
    "split.train_days=28",  # so that the training shows how weeks differ
    "split.drop_known_cards=false",  # nobody blocks a card here
]

# %% [markdown]
# ## Export
#
# A bundle is a folder of plain data: model, encoder, thresholds, golden records with their scores. Its thresholds
# keep a budget: here 10 alerts of level high, and 50 of high or medium, in 1,000 transactions.

# %%
run = train(*SMALL, "model=lightgbm", "threads=1", "report=false", "trainer.enable_progress_bar=false")
bundle = run.export()
print(f"version {bundle.version}, thresholds {dict(bundle.decision.thresholds)}")
sorted(f"{path.name} {path.stat().st_size / 1e3:.0f} kB" for path in bundle.path.iterdir())

# %% [markdown]
# ## Start a server
#
# `python -m fraudlab.serve` on a free port, with keys of its own. It keeps a record of what was asked and answered.

# %%
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
KEY, HASH_KEY = secrets.token_hex(16), secrets.token_hex(16)
settings = [f"bundle={bundle.path}", f"serving.port={PORT}", f"serving.record_to={run.path}/record"]
server = subprocess.Popen(
    [sys.executable, "-m", "fraudlab.serve", *settings],
    env={**os.environ, "FRAUDLAB_API_KEY": KEY, "FRAUDLAB_HASH_KEY": HASH_KEY},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def ask(path, content=None):
    body = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait(for_what, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            if found := for_what():
                return found
        except OSError:  # the server does not listen yet, or is not ready
            assert server.poll() is None, "the server ended; start it in a terminal to see why"
        assert time.monotonic() < end
        time.sleep(0.1)


wait(lambda: ask("/health/ready"))

# %% [markdown]
# ## Score
#
# The transactions of the test week, as they would arrive. `?explain=3` adds the three columns that a score rests on.

# %%
fields = [field["name"] for field in bundle.schema["fields"]]
later = load_table(*SMALL).filter(pl.col("TX_DATETIME") >= pl.datetime(2018, 7, 1))
drawn = later.with_columns(pl.col("TX_DATETIME").dt.to_string("iso")).sample(6000, seed=0)
week, rest = drawn[:3000], drawn[3000:]
records = week.select(fields).to_dicts()
one = ask("/predict?explain=3", records[0])
print(json.dumps(one, indent=1)[:900])


# %%
def score(asked, batch=100):
    answers = [ask("/predict", asked[start : start + batch])["predictions"] for start in range(0, len(asked), batch)]
    return [answer for answers_of_one in answers for answer in answers_of_one]


started = time.perf_counter()
answers = score(records[1:])
print(f"{len(answers) / (time.perf_counter() - started):,.0f} records/s over HTTP in batches of 100")
np.testing.assert_allclose([answer["score"] for answer in answers], bundle.predict(records[1:]), atol=1e-6)
pl.Series("risk level", [answer["risk_level"] for answer in answers]).value_counts(sort=True)

# %% [markdown]
# ## Tell it the labels
#
# Labels arrive later and name their transaction by its id. Here all of the week's are told at once.

# %%
labels = [
    {"id": record["TRANSACTION_ID"], "fraud": bool(fraud), "source": "chargeback"}
    for record, fraud in zip(records, week["TX_FRAUD"], strict=True)
]
told = [ask("/labels", labels[start : start + 100]) for start in range(0, len(labels), 100)]
told[0]

# %% [markdown]
# ## Is it still the same world?
#
# `GET /drift` holds what was scored against what the model learnt from. The limit of each column comes from how much
# the training's own weeks differ, so the same week gives no alarm.

# %%
quiet = wait(lambda: (found := ask("/drift?hours=2"))["rows"] >= len(records) and found)
print(f"{quiet['rows']:,} rows, alarm: {quiet['alarm']}")

# %% [markdown]
# Now something breaks upstream: other transactions of these days arrive with twice their amounts. No request fails;
# only the values are wrong.

# %%
wrong = rest.with_columns(pl.col("TX_AMOUNT") * 2).select(fields).to_dicts()
alerts = [answer["risk_level"] for answer in score(wrong)]
loud = wait(lambda: (found := ask("/drift?hours=2"))["rows"] >= len(drawn) and found)
print(f"level high: {alerts.count('high')} of {len(alerts):,}")
print(f"{loud['rows']:,} rows, alarm: {loud['alarm']}; columns beyond their limit:")
print(*(name for name, column in loud["columns"].items() if column["alarm"]), sep="\n")

# %%
names = list(loud["columns"])
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
place = np.arange(len(names))
for offset, report, name in ((-0.2, quiet, "the week"), (0.2, loud, "with wrong amounts")):
    relative = [report["columns"][column]["psi"] / report["columns"][column]["limit"] for column in names]
    axes.barh(place + offset, relative, 0.4, label=name)
axes.axvline(1, color="C3", linewidth=1, label="limit")
axes.set_yticks(place, [name.replace("_WINDOW", "").lower() for name in names], fontsize=7)
axes.invert_yaxis()
axes.set(xlabel="population stability index, in units of its limit", title="Drift by column")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The record
#
# The server ends when it is told to: it answers what it has accepted and writes the record. The record is Parquet
# that Polars, DuckDB and pandas read. Cards are keyed hashes in it.

# %%
server.send_signal(signal.SIGTERM)
print("exit status", server.wait(30))
record = pl.read_parquet(run.path / "record" / "day=*" / "*.parquet")
fields_of_input = pl.col("input").struct.field("TX_AMOUNT", "CUSTOMER_ID")
record.select("scored_at", "transaction_id", "score", "risk_level", fields_of_input).tail(4)

# %%
truth = week.select(pl.col("TRANSACTION_ID").cast(pl.String).alias("transaction_id"), "TX_FRAUD")
judged = (
    record.join(truth, on="transaction_id")
    .group_by("risk_level")
    .agg(transactions=pl.len(), frauds=pl.col("TX_FRAUD").sum(), precision=pl.col("TX_FRAUD").mean().round(3))
)
judged.sort("precision", descending=True)

# %% [markdown]
# The same report from the record, as a page to keep: `python -m fraudlab.drift`. With labels of several weeks,
# `python -m fraudlab.performance` tells how good the alerts were, and estimates it before labels are final.

# %%
os.environ["FRAUDLAB_HASH_KEY"] = HASH_KEY
# !{sys.executable} -m fraudlab.drift bundle={bundle.path} records={run.path}/record out={run.path}/drift

# %% [markdown]
# ## What this showed

# %%
assert server.returncode == 0
assert len(record) == len(drawn)
assert not quiet["alarm"]
assert loud["columns"]["TX_AMOUNT"]["alarm"]
levels = {row["risk_level"]: row["precision"] for row in judged.to_dicts()}
assert levels["high"] > levels["medium"] > levels["low"]
