# %% [markdown]
# # A first fraud model
#
# Simulated card transactions, a split in time with a label delay, TabNet, a bundle that scores. It runs as it is in
# Google Colab (paste the cells, or upload the file), in any notebook that knows `# %%`, and as `python colab.py`.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("fraudlab") is None:  # PyTorch is there on Colab already
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "fraudlab[train,export,serve]"], check=True)

# %% [markdown]
# The whole simulation has 1.75 million transactions; without the settings below it takes some minutes. `train` splits
# in time: it validates and tests on later weeks, and learns from no label before its delay of 7 days is over.

# %%
from fraudlab.api import train

SMALL = ["data.customers=120", "data.terminals=600", "data.radius=10", "data.days=70"]
WEEKS = ["split.train_start=2018-05-01", "split.train_days=14"]

run = train(*SMALL, *WEEKS, "trainer.max_epochs=3", "batch_size=512", path="first_model")
print(f"average precision of the test: {run.metrics['test']['average_precision']:.3f}")
run.predictions("test").sort("score", descending=True).head()

# %% [markdown]
# In a notebook, `run.report()` shows the report: metrics with intervals, curves, calibration.
#
# A bundle is what is served: plain data, checked file by file when it is loaded.

# %%
bundle = run.export()
record = bundle.golden()[0]["record"]
print(f"score: {bundle.predict([record])[0]:.3f}")
for reason in bundle.explain([record], k=3)[0]:
    print(f"{reason.column} = {reason.value}: {reason.share:.0%}")
