"""``python -m benchmarks.serving.clients <bundle>``: clients of Java and Go against a server, and what was used."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.serving import servers

_CLIENTS = {
    "Java": (["java", "-version"], ["java", "Client.java"]),
    "Go": (["go", "version"], ["go", "run", "client.go"]),
}


def main() -> None:
    bundle = Path(sys.argv[1])
    record = json.loads((bundle / "golden.jsonl").read_text().splitlines()[0])["record"]
    failed = False
    with TemporaryDirectory() as folder, servers.ours(bundle) as server:
        body = Path(folder) / "record.json"
        body.write_text(json.dumps(record))
        for name, (version, command) in _CLIENTS.items():
            if shutil.which(command[0]) is None:
                print(f"{name}: not here")
                continue
            used = subprocess.run(version, capture_output=True, text=True)
            done = subprocess.run(
                [*command, "http://{}:{}".format(*server.address), str(body)],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                timeout=120,
            )
            seen = Counter(done.stdout.splitlines())
            failed |= done.returncode != 0 or any(not line.startswith("200 ") for line in seen)
            print(f"{name} ({(used.stdout + used.stderr).splitlines()[0]}): {dict(seen)} {done.stderr.strip()[-500:]}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
