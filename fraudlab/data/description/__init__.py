"""Describes a table: roles guessed from a sample, rows read as in training, every column measured.

``sample`` (rows and spelling), ``label``, ``clock`` (the time) and ``roles`` make settings of ``data=table``;
``describe`` reads the table with them, ``facts`` measures the columns, ``written`` writes the YAML.
"""
