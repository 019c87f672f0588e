"""What a table is: guessed from a sample, read by the rules of training, measured column by column.

``sample`` (rows and spelling), ``label``, ``clock`` (the time) and ``roles`` make settings of ``data=table``;
``describe`` reads the table with them, ``facts`` measures what was read, ``written`` says it all as YAML.
"""
