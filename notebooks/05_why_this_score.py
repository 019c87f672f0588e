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
# # Why this score?
#
# An analyst who gets an alert asks what it rests on. Every exported model answers. This notebook reads the answers of
# two models and checks them against the truth, which real data never tell: the data are **simulated**, so it is known
# why each transaction is a fraud.
#
# | scenario | what the simulator did |
# |---|---|
# | 1 | an amount above 220 |
# | 2 | a compromised terminal: all of its payments for 28 days |
# | 3 | a compromised card: a third of its payments for 14 days, at five times the amount |

# %%
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from fraudlab.api import load_table, train

SMALL = ["data.customers=1000", "data.terminals=2000", "data.days=70", "split.train_start=2018-05-19"]
QUIET = ["threads=1", "logger=none", "report=false", "trainer.enable_progress_bar=false"]

trees = train(*SMALL, *QUIET, "model=lightgbm").export()
network = train(*SMALL, *QUIET, "model=tabnet").export()

test = load_table(*SMALL).filter(pl.col("TX_DATETIME") >= pl.datetime(2018, 6, 2)).sample(6000, seed=0)
COLUMNS = list(trees.encoder.numeric)  # in the order of the contributions
SHORT = [name.replace("_WINDOW", "").lower() for name in COLUMNS]  # for plots
records = test.select(COLUMNS).to_dicts()

# %% [markdown]
# ## One alert
#
# Boosted trees tell **contributions**: what each column adds to the log-odds of the score, above 0 for fraud (exact
# TreeSHAP).

# %%
scores = trees.predict(records)
scenario = test["TX_FRAUD_SCENARIO"].to_numpy()
stolen = int(np.flatnonzero(scenario == 2)[np.argmax(scores[scenario == 2])])
print(f"score {scores[stolen]:.3f}, scenario {scenario[stolen]}")
pl.DataFrame([reason._asdict() for reason in trees.explain([records[stolen]], k=5)[0]])

# %% [markdown]
# ## They add up
#
# Base and contributions of a row add up to the log-odds of its score, so nothing is left unexplained.

# %%
arrays = trees.encode(records)
base, contributions = trees.contributions(arrays)
log_odds = np.log(scores / (1 - scores))
gap = np.abs(base + contributions.sum(axis=1) - log_odds)
print(f"base {base:.2f}; largest gap of {len(records):,} rows: {gap.max():.1e}")


def waterfall(axes, row, most=6):
    order = np.argsort(-np.abs(contributions[row]))
    parts = [*contributions[row][order[:most]], contributions[row][order[most:]].sum()]
    start = base + np.concatenate([[0], np.cumsum(parts)[:-1]])
    axes.barh(range(len(parts)), parts, left=start, color=np.where(np.array(parts) > 0, "C3", "C0"))
    axes.set_yticks(range(len(parts)), [*(SHORT[i] for i in order[:most]), "all others"], fontsize=8)
    axes.axvline(base, color="grey", linewidth=0.8, linestyle=":")
    axes.margins(x=0.1)
    axes.invert_yaxis()
    axes.set(xlabel="log-odds of fraud", title=f"scenario {scenario[row]}, score {scores[row]:.2f}")


figure, panels = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
waterfall(panels[0], int(np.flatnonzero(scenario == 1)[np.argmax(scores[scenario == 1])]))
waterfall(panels[1], stolen)

# %% [markdown]
# ## Do the reasons name the cause?
#
# Of the alerts (the 50 highest scores in 1,000 transactions), the strongest reason of each fraud, by scenario.
# Columns that tell of the same thing are put together.

# %%
GROUPS = {
    "amount": ["TX_AMOUNT"],
    "terminal": [name for name in COLUMNS if name.startswith("TERMINAL")],
    "card's amounts": [name for name in COLUMNS if "AVG_AMOUNT" in name],
    "card's counts": [name for name in COLUMNS if name.startswith("CUSTOMER_ID_NB")],
    "time of day": ["TX_DURING_NIGHT", "TX_DURING_WEEKEND"],
}


def grouped(weights):
    columns = [[COLUMNS.index(name) for name in names] for names in GROUPS.values()]
    return np.stack([weights[:, group].sum(axis=1) for group in columns], axis=1)


alerts = scores >= np.sort(scores)[-len(scores) // 20]
top = grouped(contributions).argmax(axis=1)
shares = np.stack([np.eye(len(GROUPS))[top[alerts & (scenario == kind)]].mean(axis=0) for kind in (1, 2, 3)])

figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
left = np.zeros(3)
for name, share in zip(GROUPS, shares.T, strict=True):
    axes.barh(["1: large amount", "2: terminal", "3: card"], share, left=left, label=name)
    left += share
axes.invert_yaxis()
axes.set(xlabel="share of the alerted frauds by strongest reason", title="LightGBM, TreeSHAP")
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
plt.show()

# %% [markdown]
# ## Masks: where TabNet looked
#
# TabNet has no signed contributions. It chooses columns by masks, and its **share** says how much of the score rests
# on each. A share says where the network looked, not in which direction. The frauds are those above, which LightGBM
# alerts: so both models explain the same ones.

# %%
kinds = [np.flatnonzero(alerts & (scenario == kind)) for kind in (1, 2, 3)]
by_scenario = np.zeros((3, len(GROUPS)))
for i, rows in enumerate(kinds):
    for reasons in network.explain([records[row] for row in rows], k=len(COLUMNS)):
        for reason in reasons:
            group = next(j for j, names in enumerate(GROUPS.values()) if reason.column in names)
            by_scenario[i, group] += reason.share / len(rows)

figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
image = axes.imshow(by_scenario, cmap="Blues", vmin=0, aspect="auto")
axes.set_xticks(range(len(GROUPS)), list(GROUPS), fontsize=8)
axes.set_yticks(range(3), ["1: large amount", "2: terminal", "3: card"])
for (i, j), value in np.ndenumerate(by_scenario):
    axes.text(j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.4 else "black")
axes.set_title("TabNet: mean share of the masks, frauds that LightGBM alerts")
figure.colorbar(image)
plt.show()

# %% [markdown]
# For a large amount TabNet looks at the card's mean amounts: they contain the present one, so the news is the same.
# Two models may give different reasons for one score, and both can be right about what they used.
#
# ## Occlusion, and why it is not enough
#
# A simple explanation sets one column to a typical value and looks at the change. It is easy, and here it names the
# same column first. But each change is measured while all other columns stay as they are, so the changes of a row do
# not add up to that of its score.

# %%
typical = test.select(pl.col(COLUMNS).median()).to_dicts()[0]
risky = kinds[1]


def log_odds_of(changed):
    probability = trees.predict(changed)
    return np.log(probability / (1 - probability))


now = log_odds_of([records[row] for row in risky])
hidden = np.stack(
    [now - log_odds_of([{**records[row], name: typical[name]} for row in risky]) for name in COLUMNS], axis=1
)
everything = now - log_odds_of([typical])
missed = np.abs(hidden.sum(axis=1) - everything)
print(f"hiding all columns changes a row's log-odds by {everything.mean():.2f} on average;")
print(f"the changes of single columns, added up, miss that by {missed.mean():.2f}")

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
place = np.arange(len(COLUMNS))
axes.barh(place - 0.2, contributions[risky].mean(axis=0), 0.4, label="TreeSHAP")
axes.barh(place + 0.2, hidden.mean(axis=0), 0.4, label="occlusion")
axes.set_yticks(place, SHORT, fontsize=7)
axes.invert_yaxis()
axes.set(xlabel="mean change of the log-odds", title="Alerted frauds at compromised terminals")
axes.legend()
plt.show()

# %% [markdown]
# ## What if?
#
# A model can be asked what it would have said. Here the amount of one transaction changes, and nothing else. The step
# near 220 is the simulator's rule, found by the model.

# %%
genuine = int(np.flatnonzero((scenario == 0) & (scores < np.median(scores)))[0])
amounts = np.arange(5, 400, 2.5)
curve = trees.predict([{**records[genuine], "TX_AMOUNT": float(amount)} for amount in amounts])
figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
axes.plot(amounts, curve)
axes.axvline(records[genuine]["TX_AMOUNT"], color="grey", linestyle=":", label="as it was")
axes.set(xlabel="TX_AMOUNT", ylabel="score", title="One genuine transaction, other amounts")
axes.legend()
plt.show()

# %% [markdown]
# Contributions explain the model, not the world. They name the cause here because the model has found it; a model
# that has learnt a shortcut explains the shortcut.
#
# ## What this showed

# %%
names = list(GROUPS)
assert gap.max() < 1e-3
assert shares[0, names.index("amount")] > 0.9
assert shares[1, names.index("terminal")] > 0.9
assert by_scenario[1].argmax() == names.index("terminal")
assert contributions[risky].mean(axis=0).argmax() == hidden.mean(axis=0).argmax()
assert missed.mean() > 100 * gap.max()
assert curve[amounts > 230].min() > curve[amounts < 200].max()
