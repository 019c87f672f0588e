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
# # Features in time: what leaks, shown by breaking it
#
# A model of fraud can look excellent on the table it was made from and fail in production. The usual cause is not the
# model but time: it was measured, or fed, with something that nobody knows at the moment of a payment. This notebook
# makes three common mistakes on purpose, on **simulated** card transactions, and compares what each promises with
# what it delivers.
#
# | mistake | what it uses that is not known |
# |---|---|
# | random split | other transactions of the same days, cards and terminals |
# | share of fraud over the whole table | labels of the future |
# | labels without delay | labels of the last days, which arrive a week later |

# %%
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score

from fraudlab.api import compose, load_table
from fraudlab.errors import UserError
from fraudlab.sklearn import FraudClassifier

SMALL = ["data.customers=1000", "data.terminals=2000", "data.days=84"]
table = load_table(*SMALL).with_columns(day=(pl.col("TX_DATETIME") - pl.col("TX_DATETIME").min()).dt.total_days())
print(f"{len(table):,} transactions, {table['TX_FRAUD'].mean():.1%} of them fraud (simulated)")

# %% [markdown]
# ## The rules of the comparison
#
# Every model learns from the same two weeks and is the same LightGBM. "Promised" is its average precision on the
# validation that its author would have used. "Delivered" is its average precision on the two weeks that come later,
# with every feature as it could be known then. A label is known 7 days after its transaction.

# %%
LEARN = pl.col("day").is_between(42, 55)  # the next 7 days have no known labels yet
VALIDATE = pl.col("day").is_between(63, 69)
LATER = pl.col("day").is_between(70, 83)
DELAY = pl.duration(days=7)

HONEST = list(compose(*SMALL).features.columns)
FIXED = ["model.n_estimators=150", "threads=1"]


def fit(rows, columns, categorical=()):
    model = FraudClassifier("lightgbm", overrides=FIXED, categorical=categorical, validation_fraction=0)
    return model.fit(rows.select(columns), rows["TX_FRAUD"])


def average_precision(model, rows, columns):
    return average_precision_score(rows["TX_FRAUD"], model.predict_proba(rows.select(columns))[:, 1])


learn, validate, later = (table.filter(rows) for rows in (LEARN, VALIDATE, LATER))
results = {}

# %% [markdown]
# ## Done right
#
# Features of `features=handbook`: amounts and counts of the card over the past, and the share of known fraud at the
# terminal. They use earlier rows alone, and labels after their delay. Validation lies after training, with the delay
# between them.

# %%
model = fit(learn, HONEST)
results["in time"] = average_precision(model, validate, HONEST), average_precision(model, later, HONEST)
print("promised {:.3f}, delivered {:.3f}".format(*results["in time"]))

# %% [markdown]
# ## Mistake 1: a random split
#
# The rows of the same weeks are shuffled; three quarters train, the rest validates. The ids of card and terminal are
# inputs, as they are in many tables. A compromised terminal has frauds in both parts, so the model learns its number
# by heart.

# %%
IDS = ["CUSTOMER_ID", "TERMINAL_ID"]
together = table.filter(LEARN | VALIDATE).sample(fraction=1, shuffle=True, seed=0)
cut = 3 * len(together) // 4
model = fit(together[:cut], HONEST + IDS, IDS)
results["random split"] = (
    average_precision(model, together[cut:], HONEST + IDS),
    average_precision(model, later, HONEST + IDS),
)
print("promised {:.3f}, delivered {:.3f}".format(*results["random split"]))

# %% [markdown]
# ## Mistake 2: a share of fraud over the whole table
#
# A popular feature: how often was there fraud at this terminal? Computed once over the whole table it contains the
# answer, since the row's own label and those after it count too. In production the table ends today, and the newest
# labels are missing.

# %%
whole = table.group_by("TERMINAL_ID").agg(share=pl.col("TX_FRAUD").mean(), count=pl.len())
known = (
    table.filter(pl.col("day") < 70 - 7).group_by("TERMINAL_ID").agg(share=pl.col("TX_FRAUD").mean(), count=pl.len())
)
LEAKY = [*HONEST, "share", "count"]
model = fit(learn.join(whole, on="TERMINAL_ID", how="left"), LEAKY)
results["share over\nthe whole table"] = (
    average_precision(model, validate.join(whole, on="TERMINAL_ID", how="left"), LEAKY),
    average_precision(model, later.join(known, on="TERMINAL_ID", how="left"), LEAKY),
)
print("promised {:.3f}, delivered {:.3f}".format(*results["share over\nthe whole table"]))

# %% [markdown]
# ## Mistake 3: labels without delay
#
# The share of fraud at the terminal over the last days, this time from earlier rows alone. The table knows each label
# at once. The world does not: what was fraud yesterday is not known today. fraudlab refuses to build such features:

# %%
try:
    load_table(*SMALL, "label_delay_days=0")
except UserError as error:
    print(error)

# %% [markdown]
# So they are built by hand here. In production the same code runs on labels that are a week late.

# %%
at_once = [
    pl.col("TX_FRAUD")
    .rolling_mean_by("TX_DATETIME", f"{days}d", closed="left")
    .over("TERMINAL_ID")
    .fill_null(0.0)
    .alias(f"TERMINAL_ID_RISK_{days}DAY_WINDOW")
    for days in (1, 7, 30)
]
undelayed = table.with_columns(at_once)
model = fit(undelayed.filter(LEARN), HONEST)
results["labels\nwithout delay"] = (
    average_precision(model, undelayed.filter(VALIDATE), HONEST),
    average_precision(model, later, HONEST),
)
print("promised {:.3f}, delivered {:.3f}".format(*results["labels\nwithout delay"]))

# %% [markdown]
# ## Promised and delivered

# %%
place = np.arange(len(results))
promised, delivered = np.array(list(results.values())).T
figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for bars in (
    axes.bar(place - 0.2, promised, 0.38, label="promised: on its author's validation", color="C1", alpha=0.6),
    axes.bar(place + 0.2, delivered, 0.38, label="delivered: on the two weeks after, as things are known", color="C0"),
):
    axes.bar_label(bars, fmt="%.2f", fontsize=8)
axes.axhline(delivered[0], color="C0", linewidth=0.8, linestyle=":")
axes.set(ylabel="average precision", ylim=(0, 1.15))
axes.set_xticks(place, list(results))
axes.legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown]
# Each mistake promises more than the honest model and delivers less. The gap is not bad luck: it would be there in
# every week after the deployment.
#
# fraudlab's answer is in its defaults: splits go by time with the label delay between the parts, features see earlier
# rows alone, label features wait for the delay, and the server looks features up by the same rule.

# %%
for name, (promise, delivery) in list(results.items())[1:]:
    assert promise > promised[0], name
    assert delivery < delivered[0], name
assert abs(promised[0] - delivered[0]) < min(promised[1:] - delivered[1:])
