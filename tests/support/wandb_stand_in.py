"""As much of W&B's HTTP interface as its client needs to send a run, and a reader of what it keeps offline."""

import gzip
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record


class Received:
    """What clients sent: run ids in order, artifacts (name to file to bytes), files and history rows by run."""

    def __init__(self) -> None:
        self.address = ""
        self.runs: list[str] = []
        self.configs: dict[str, dict] = {}
        self.summaries: dict[str, dict] = {}
        self.history: dict[str, list[dict]] = {}
        self.exit_codes: dict[str, list[int]] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_MODE": "online", "WANDB_BASE_URL": self.address, "WANDB_API_KEY": "0123456789" * 4,
                "WANDB_ERROR_REPORTING": "false"}  # fmt: skip

    def graphql(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        of_project = {"id": "p", "name": "fraudlab", "entity": {"id": "e", "name": "me"}}
        if operation == "Viewer":
            return {"viewer": {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}",
                               "teams": {"edges": []}}}  # fmt: skip
        if operation == "RunResumeStatus":
            name = variables["name"]
            known = {"id": name, "name": name, "displayName": name, "summaryMetrics": "{}", "logLineCount": 0,
                     "historyLineCount": len(self.history.get(name, [])), "eventsLineCount": 0, "historyTail": "[]",
                     "eventsTail": "[]", "config": "{}", "tags": [], "notes": None,
                     "wandbConfig": '{"t": 1}'}  # fmt: skip
            return {"model": {**of_project, "bucket": known if name in self.runs else None}}
        if operation == "UpsertBucket":
            name = variables["name"]
            if name not in self.runs:
                self.runs.append(name)
            config = {key: item["value"] for key, item in json.loads(variables["config"] or "{}").items()}
            self.configs.setdefault(name, {}).update(config)
            return {"upsertBucket": {"bucket": {"id": name, "name": name, "displayName": name, "historyLineCount": 0,
                                                "project": of_project}, "inserted": True}}  # fmt: skip
        if operation == "CreateArtifact":
            name = variables["input"]["artifactCollectionName"]
            self.artifacts[name] = {}
            made = {"id": name, "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
            return {"createArtifact": {"artifact": made}}
        if operation == "CreateArtifactManifest":
            name = variables["artifactID"]
            file = {"id": "f", "uploadUrl": f"{self.address}/artifact/{name}/wandb_manifest.json", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": name, "file": file}}}
        if operation == "CreateArtifactFiles":
            edges = []
            for file in variables["input"]["artifactFiles"]:
                where = f"{file['artifactID']}/{file['name']}"
                node = {"storagePath": where, "uploadUrl": f"{self.address}/artifact/{where}", "uploadHeaders": [],
                        "artifact": {"id": file["artifactID"]}}  # fmt: skip
                edges.append({"node": node})
            return {"createArtifactFiles": {"files": {"edges": edges}}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": ""}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.address}/file/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        return {"project": {"artifact": None}, "serverInfo": {"features": []}}

    def streamed(self, run: str, sent: dict[str, Any]) -> None:
        files = sent.get("files") or {}
        rows = files.get("wandb-history.jsonl", {}).get("content", [])
        self.history.setdefault(run, []).extend(json.loads(row) for row in rows)
        for row in files.get("wandb-summary.json", {}).get("content", []):
            self.summaries.setdefault(run, {}).update(json.loads(row))
        if sent.get("complete"):
            self.exit_codes.setdefault(run, []).append(sent["exitcode"])


@contextmanager
def wandb_server() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answer: dict[str, Any] = {}
            parts = self.path.strip("/").split("/")
            if parts == ["graphql"]:
                asked = json.loads(body)
                operation = asked.get("operationName") or ""
                answer = {"data": received.graphql(operation, asked.get("variables") or {})}
            elif parts[-1] == "file_stream":
                received.streamed(parts[-2], json.loads(body))
            elif parts[0] == "artifact":
                received.artifacts[parts[1]]["/".join(parts[2:])] = body
            said = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_POST

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # the client hangs up when it is done

    with Server(("127.0.0.1", 0), Handler) as server:
        received.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()


def offline_records(run: Path) -> Iterator[Record]:
    """The records of a run folder's only ``.wandb`` file, a LevelDB log of W&B's messages."""
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # what is left of a block is padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""
