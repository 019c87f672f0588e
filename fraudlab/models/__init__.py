"""Networks: one folder each, known to the rest only by the contract in :mod:`fraudlab.models.contract`."""
