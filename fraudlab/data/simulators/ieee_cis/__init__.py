"""Files in the form of Kaggle's IEEE-CIS Fraud Detection data, drawn at random.

:func:`simulate` writes ``train_transaction.csv`` and ``train_identity.csv`` with Kaggle's columns, types, categories,
missing values and file format, and beside them a file ``SIMULATED``. What is alike: clients that return under the same
card and address, D columns that count days since something happened and so drift, V columns that are missing in blocks
and correlate inside and between them, frauds that come in bursts of one client and whose rate and kind shift from month
to month. Where the numbers come from:

- ``values.csv`` and ``v_loadings.csv`` hold shares, quantiles and loadings on eight factors, measured on Kaggle's first
  1,500 rows, which are of one day. The loadings were fitted so that Pearson's correlations of the V columns come out
  as they are there. Neither file holds a row.
- Shares of missing values and amounts lie between that sample and public descriptions of the whole table.
- Which columns depend on fraud, and how much, is invented.

Do not use the data to judge a model's quality on real transactions, or to choose features, hyperparameters or
thresholds. Values end where those of the sample end; only the V columns' correlations with each other, not with the
amount or with time, are those of real rows; correlations estimated from few rows (196 for V138 to V166 and V322 to
V339) are rough.

The plot (who pays when, who is compromised when) is drawn for all rows at once, about 100 bytes a row. The 435
columns are then drawn in blocks of rows, each from a stream of its own, and written block by block.
"""

from fraudlab.data.simulators.ieee_cis.files import (
    IDENTITIES,
    IDENTITY_COLUMNS,
    MARK,
    TRANSACTION_COLUMNS,
    TRANSACTIONS,
    Simulated,
    simulate,
)
from fraudlab.data.simulators.ieee_cis.v_columns import V_BLOCKS

__all__ = [
    "IDENTITIES",
    "IDENTITY_COLUMNS",
    "MARK",
    "TRANSACTIONS",
    "TRANSACTION_COLUMNS",
    "V_BLOCKS",
    "Simulated",
    "simulate",
]
