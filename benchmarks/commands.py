"""fraudlab's commands, each in a process of its own, whose output nobody reads."""

import subprocess
import sys


def command(name: str, *words: str) -> None:
    """Run a command.

    Raises:
        subprocess.CalledProcessError: it failed; it has told why.
    """
    subprocess.run([sys.executable, "-m", f"fraudlab.{name}", *words], check=True, stdout=subprocess.DEVNULL)
