"""``python -m fraudlab.serve``: a bundle behind HTTP."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from fraudlab.cli import command, overrides
from fraudlab.config import ServeConfig
from fraudlab.config.environment import with_environment
from fraudlab.errors import UserError


@command("serve")
def main(config: ServeConfig) -> None:
    if not hasattr(os, "fork"):
        raise UserError("the server runs on Linux and macOS; on Windows run it in WSL or in its image")
    bundle = config.bundle or newest_bundle()
    typed = [override.split("=")[0].removeprefix("serving.") for override in overrides("serving")]
    serving = with_environment(config.serving, os.environ, typed)
    given = json.dumps({"bundle": bundle, "serving": asdict(serving), "plugins": config.plugins})
    # The same process from here on, so that signals reach the server, and without Hydra, so that it stays small.
    os.execv(sys.executable, [sys.executable, "-m", "fraudlab.serving", given])  # noqa: S606


def newest_bundle() -> str:
    """Folder of the newest bundle under ``outputs/``.

    Raises:
        UserError: there is none.
    """
    manifests = sorted(Path("outputs").glob("*/*/bundle/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise UserError(
            "there is no bundle under outputs/; make one with python -m fraudlab.export run=<run folder>, "
            "or give bundle=<folder or gs:// address>"
        )
    return str(manifests[-1].parent)


if __name__ == "__main__":
    main()
