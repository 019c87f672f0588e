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
# # A first model
#
# This notebook trains a model on simulated card transactions and reads its results as a fraud team would: how many
# frauds are caught with the alerts that analysts can look at?
#
# The data are **simulated**, by the procedure of the
# [Fraud Detection Handbook](https://fraud-detection-handbook.github.io/fraud-detection-handbook/). Here are few
# customers and ten weeks, so that a training takes seconds. With fewer customers the share of fraud is higher than in
# the Handbook's own data, where it is 0.84 percent.

# %%
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score

from fraudlab.api import load_table, train

SMALL = [
    "data.customers=1000",
    "data.terminals=2000",
    "data.days=70",
    "split.train_start=2018-05-19",  # 7 days of training, 7 days of label delay, 7 days of test
    "threads=1",  # so little data is faster on one thread
]

# %% [markdown]
# ## The table
#
# `load_table` gives what a training learns from. The first columns are the raw transaction, the others are features:
# what the card and the terminal did before. Each value uses earlier rows alone, and each label only 7 days after its
# transaction.

# %%
table = load_table(*SMALL)
print(f"{len(table):,} transactions, {table['TX_FRAUD'].mean():.1%} of them fraud (simulated)")
table.select(
    "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW",
    "TERMINAL_ID_RISK_7DAY_WINDOW", "TX_FRAUD",
).tail(5)  # fmt: skip

# %%
days = table.group_by(pl.col("TX_DATETIME").dt.date().alias("day")).agg(pl.col("TX_FRAUD").mean()).sort("day")
figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
axes.plot(days["day"], 100 * days["TX_FRAUD"], linewidth=1.5)
axes.axvspan(np.datetime64("2018-05-19"), np.datetime64("2018-05-26"), alpha=0.15, label="training of the tested model")
axes.axvspan(np.datetime64("2018-06-02"), np.datetime64("2018-06-09"), alpha=0.15, color="C1", label="test")
axes.set(ylabel="fraud, %", title="Share of fraud by day")
axes.legend()
plt.show()

# %% [markdown]
# The share rises for four weeks, since in the simulation a terminal stays compromised for 28 days. The gap between
# training and test is the label delay: nobody knows those labels yet when the test week begins.
#
# ## Train
#
# One call does what `python -m fraudlab.train` does: features, split in time, a model that validation chooses, a
# second fit on the latest days whose labels are known, and one look at the test week. `model=` names the model;
# without it, it is TabNet.

# %%
run = train(*SMALL, "model=tabnet", "trainer.enable_progress_bar=false", "logger=none")
run

# %% [markdown]
# The test leaves out the later transactions of cards with a fraud that was known by the test week, since such a card
# would be blocked (`split.drop_known_cards=false` keeps them). With so few customers that is a large part of the week:

# %%
test = run.predictions("test").sort("score", descending=True)
whole_week = table.filter(pl.col("TX_DATETIME") >= pl.datetime(2018, 6, 2))
print(f"tested: {len(test):,} of the week's {len(whole_week):,} transactions")

# %% [markdown]
# ## What an alert budget buys
#
# Analysts can look at a share of the transactions. Sort by the score, alert the top, and count.

# %%
label = test["label"].to_numpy()
alerts = np.arange(1, len(test) + 1)
caught = np.cumsum(label)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(100 * alerts / len(test), caught / label.sum(), label="recall: share of the frauds that are alerted")
left.plot(100 * alerts / len(test), caught / alerts, label="precision: share of the alerts that are fraud")
left.set(xscale="log", xlim=(0.1, 100), ylim=(0, 1.05), xlabel="transactions alerted, %")
left.set_title("Alert budget, test week")
left.legend(fontsize=8, loc="center right")
bins = np.linspace(0, 1, 41)
right.hist(test.filter(pl.col("label") == 0)["score"], bins, alpha=0.6, label="genuine")
right.hist(test.filter(pl.col("label") == 1)["score"], bins, alpha=0.6, label="fraud")
right.set(yscale="log", xlabel="score", ylabel="transactions", title="Scores, test week")
right.legend(fontsize=8)
plt.show()

# %%
budgets = pl.DataFrame(
    [
        {
            "alerts per 1,000": budget,
            "alerts a day": round(budget * len(test) / 7000),
            "precision": caught[(first := round(budget * len(test) / 1000)) - 1] / first,
            "recall": caught[first - 1] / label.sum(),
        }
        for budget in (5, 10, 20, 50)
    ]
)
budgets.with_columns(pl.col("precision", "recall").round(3))

# %% [markdown]
# ## The highest scores
#
# What would be on an analyst's list first:

# %%
test.select("time", "card_id", "terminal_id", "amount", "score", "label").head(8)

# %% [markdown]
# The run folder has everything that made these numbers: settings, data fingerprint, checkpoint, predictions and a
# report (`run.report()` shows it here).

# %%
sorted(path.name for path in run.path.iterdir())

# %% [markdown]
# ## What this showed
#
# Every metric can be computed again from the predictions, and the model ranks far better than chance: a random order
# would have the share of fraud as its average precision.

# %%
average_precision = average_precision_score(label, test["score"])
assert np.isclose(average_precision, run.metrics["test"]["average_precision"])
assert average_precision > 5 * label.mean()
assert len(test) < len(whole_week)
print(f"average precision {average_precision:.3f}, of a random order {label.mean():.3f}")
