"""Files in the form of Kaggle's IEEE-CIS Fraud Detection data, made up from nothing.

:func:`simulate` writes ``train_transaction.csv`` and ``train_identity.csv`` with Kaggle's columns, types, categories,
missing values and file format, and beside them a file ``SIMULATED``. What is alike: clients that return under the same
card and address, D columns that count days since something happened and so drift, V columns that are missing in blocks
and move together, frauds that come in bursts of one client and whose rate and kind shift from month to month. Shares
are rounded from public descriptions of the data; which V column tells what is made up.

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
