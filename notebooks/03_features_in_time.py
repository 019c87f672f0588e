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
# makes four common mistakes on purpose, on **simulated** card transactions, and compares what each promises with
# what it delivers.
#
# | mistake | what it uses that is not known |
# |---|---|
# | random split | other transactions of the same days, cards and terminals |
# | ids as inputs, with a random split | which numbers had fraud in those days |
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
# Every delivered model learns from the same two weeks and is the same LightGBM. "Promised" is the average precision
# that its author believes in, always for the transactions of one week, the validation. "Delivered" is the average
# precision on the two weeks that come later, with every feature as it could be known then. A label is known 7 days
# after its transaction. So promises differ by the mistake and not by their rows. A promise and a delivery are of
# different weeks, and some weeks are easier: hold promises against promises, and deliveries against deliveries.

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


def score(model, rows, columns):
    return model.predict_proba(rows.select(columns))[:, 1]


learn, validate, later = (table.filter(rows) for rows in (LEARN, VALIDATE, LATER))
scores = {}  # of each way, on the validation and on the later weeks


def show(name, on_validation, on_later):
    scores[name] = on_validation, on_later
    promised = average_precision_score(validate["TX_FRAUD"], on_validation)
    delivered = average_precision_score(later["TX_FRAUD"], on_later)
    print(f"promised {promised:.3f}, delivered {delivered:.3f}")


# %% [markdown]
# ## Done right
#
# Features of `features=handbook`: amounts and counts of the card over the past, and the share of known fraud at the
# terminal. They use earlier rows alone, and labels after their delay. Validation lies after training, with the delay
# between them.

# %%
model = fit(learn, HONEST)
show("in time", score(model, validate, HONEST), score(model, later, HONEST))

# %% [markdown]
# ## Mistake 1: a random split
#
# The rows of the same three weeks are dealt at random into three parts, and each part is scored by a model of the two
# others: as many rows as above, the same columns, and the same week judged. But now the model has seen labels of that
# very week. Only the promise changes. The model that can be delivered is the one above, of rows with known labels.

# %%
together = table.filter(LEARN | VALIDATE)
part = np.random.default_rng(0).integers(0, 3, len(together))


def score_at_random(columns, categorical=()):
    found = np.empty(len(together))
    for i in range(3):
        model = fit(together.filter(part != i), columns, categorical)
        found[part == i] = score(model, together.filter(part == i), columns)
    return found[together.select(VALIDATE).to_series()]


show("random split", score_at_random(HONEST), scores["in time"][1])

# %% [markdown]
# ## Mistake 2: ids as inputs
#
# Many tables have the numbers of card and terminal, and a model can learn by heart which of them had fraud. Dealt at
# random, a compromised terminal has frauds in every part, so this looks like a large gain.

# %%
IDS = ["CUSTOMER_ID", "TERMINAL_ID"]
model = fit(learn, HONEST + IDS, IDS)
show("ids as inputs,\nrandom split", score_at_random(HONEST + IDS, IDS), score(model, later, HONEST + IDS))

# %% [markdown]
# A validation in time would have told that ids do harm:

# %%
told = average_precision_score(validate["TX_FRAUD"], score(model, validate, HONEST + IDS))
print(f"with ids, validated in time: {told:.3f}")

# %% [markdown]
# ## Mistake 3: a share of fraud over the whole table
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
show(
    "share over\nthe whole table",
    score(model, validate.join(whole, on="TERMINAL_ID", how="left"), LEAKY),
    score(model, later.join(known, on="TERMINAL_ID", how="left"), LEAKY),
)

# %% [markdown]
# ## Mistake 4: labels without delay
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
show("labels\nwithout delay", score(model, undelayed.filter(VALIDATE), HONEST), score(model, later, HONEST))

# %% [markdown]
# ## Promised and delivered
#
# The frauds of one terminal belong together. So the 95 % intervals draw terminals with replacement, the same draws
# for all.


# %%
def measured(rows, ways, draws=100):
    """The average precision of each way, and both ends of the 95 % interval of its difference to the first."""
    label = rows["TX_FRAUD"].to_numpy()
    terminal = rows["TERMINAL_ID"].rank("dense").to_numpy() - 1
    count = terminal.max() + 1
    found = np.empty((draws, len(ways)))
    for draw, chosen in enumerate(np.random.default_rng(0).integers(0, count, (draws, count))):
        weight = np.bincount(chosen, minlength=count)[terminal]
        found[draw] = [average_precision_score(label, way, sample_weight=weight) for way in ways]
    low, high = np.quantile(found - found[:, :1], (0.025, 0.975), axis=0)
    return np.array([average_precision_score(label, way) for way in ways]), low, high


on_validation, on_later = zip(*scores.values(), strict=True)
promised, promised_low, promised_high = measured(validate, on_validation)
delivered, delivered_low, delivered_high = measured(later, on_later)


def differences(value, low, high):
    return [f"{v - value[0]:+.3f} [{a:+.3f}, {b:+.3f}]" for v, a, b in zip(value, low, high, strict=True)][1:]


pl.DataFrame(
    {
        "mistake": [name.replace("\n", " ") for name in scores][1:],
        "promised, less that in time": differences(promised, promised_low, promised_high),
        "delivered, less that in time": differences(delivered, delivered_low, delivered_high),
    }
)

# %%
place = np.arange(len(scores))
figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for bars in (
    axes.bar(place - 0.2, promised, 0.38, label="promised: what its author believes", color="C1", alpha=0.6),
    axes.bar(place + 0.2, delivered, 0.38, label="delivered: on the two weeks after, as things are known", color="C0"),
):
    axes.bar_label(bars, fmt="%.2f", fontsize=8)
axes.axhline(delivered[0], color="C0", linewidth=0.8, linestyle=":")
axes.set(ylabel="average precision", ylim=(0, 1.15))
axes.set_xticks(place, list(scores))
axes.legend(loc="upper right", fontsize=8)
plt.show()

# %% [markdown]
# Each mistake promises more than validation in time does, for the same week. A random split alone does no harm to the
# model; it only promises too much. The other three also deliver less than the honest model. The intervals tell how far
# other terminals would have moved that, not other weeks or other tables.
#
# fraudlab's answer is in its defaults: splits go by time with the label delay between the parts, features see earlier
# rows alone, label features wait for the delay, and the server looks features up by the same rule.

# %%
assert (promised_low[1:] > 0).all()
assert (delivered_high[2:] < 0).all()
assert told < promised[0]
