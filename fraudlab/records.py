"""``python -m fraudlab.records``: what a server has recorded, and how persons are taken out of it."""

import os
from pathlib import Path

from fraudlab.cli import command
from fraudlab.config import RecordsConfig


@command("records")
def main(config: RecordsConfig) -> None:
    from fraudlab.errors import UserError
    from fraudlab.monitoring import erasure
    from fraudlab.monitoring.summary import summary

    folder = Path(config.folder)
    if config.erase is None:
        print(summary(folder))
        return
    try:
        ids = [line.strip() for line in Path(config.erase).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"erase={config.erase} cannot be read: {error}") from error
    key = os.environ.get("FRAUDLAB_HASH_KEY")
    os.umask(0o077)  # the files hold what clients sent: for their owner alone
    erased = erasure.erase(folder, ids, None if key is None else key.encode())
    print(f"ids        {len(ids):,}")
    print(f"rows       {erased.rows:,} erased")
    print(f"labels     {erased.labels:,} erased")
    print(f"leftovers  {erased.leftovers:,} deleted: files that a crash left, or that cannot be read")
    if config.history is not None:
        from fraudlab.serving.history import erase

        print(f"history    {erase(config.history, erased.transactions):,} transactions erased")


if __name__ == "__main__":
    main()
