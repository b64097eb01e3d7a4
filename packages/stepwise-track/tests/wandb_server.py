"""A stand-in for W&B's server, which nobody can run in a test: the part of its protocol that the real SDK uses here.

Rows of a run are kept by offset, as the real one keeps them: a row that is sent again to the same offset replaces
itself, a resumed run goes on behind the last one.
"""

import base64
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote


@dataclass
class StoredRun:
    """What the server has of a run."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    console: dict[int, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    def history(self) -> list[dict[str, Any]]:
        return [self.rows[offset] for offset in sorted(self.rows)]


class WandbServer:
    """Answers on `url` until `stop`; `status` other than 200 makes it answer everything with that."""

    def __init__(self) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        self.status = 200
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            wandb = server

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def graphql(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else ""
        with self._lock:
            answer = getattr(self, f"_{name}", None)
            if answer is None:
                self.unknown.append(query)
                return {}
            result: dict[str, Any] = answer(given)
            return result

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "1", "entity": "team", "username": "me", "email": "", "flags": "{}", "admin": False}
        return {
            "viewer": viewer
            | {"teams": {"edges": []}, "apiKeys": {"edges": []}, "name": "me", "deletedAt": None}
        }

    _GetDefaultEntity = _Viewer

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        bucket = None
        if run:
            tail = [json.dumps(row) for row in run.history()[-1:]]
            bucket = {
                "id": given["name"], "name": given["name"], "displayName": "n", "tags": [], "notes": "",
                "historyLineCount": len(run.rows), "eventsLineCount": 0, "logLineCount": len(run.console),
                "historyTail": json.dumps(tail), "eventsTail": "[]", "summaryMetrics": json.dumps(run.summary),
                "config": json.dumps(run.config), "wandbConfig": '{"t": 1}',
            }  # fmt: skip
        model = {"id": "p", "name": given["project"], "entity": {"id": "1", "name": "team"}, "bucket": bucket}
        return {"model": model}

    def _Run(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        if run is None:
            return {"project": {"run": None}}
        facts = {
            "id": given["name"], "name": given["name"], "displayName": "n", "tags": [], "sweepName": None,
            "state": "running", "config": json.dumps(run.config), "group": None, "jobType": None, "commit": None,
            "readOnly": False, "createdAt": "2026-01-01T00:00:00", "heartbeatAt": "2026-01-01T00:00:00",
            "description": "", "notes": "", "systemMetrics": "{}", "summaryMetrics": json.dumps(run.summary),
            "historyLineCount": len(run.rows), "user": {"name": "me", "username": "me"}, "historyKeys": None,
            "projectId": "1",
        }  # fmt: skip
        return {"project": {"run": facts}}

    def _RunConsoleLines(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"model": {"bucket": {"logLineCount": len(self.runs[given["name"]].console)}}}

    def _RunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        wanted, files = given.get("fileNames") or [], self.runs[given["name"]].files
        edges = [
            {
                "node": {
                    "id": name, "name": name, "url": "", "directUrl": "", "sizeBytes": len(content),
                    "mimetype": "", "updatedAt": None, "md5": "",
                },
                "cursor": name,
            }
            for name, content in files.items()
            if not wanted or name in wanted
        ]  # fmt: skip
        page = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": page}}}

    def _RunHistoryKeys(self, given: dict[str, Any]) -> dict[str, Any]:
        rows = self.runs[given["name"]].history()
        keys = {"keys": {}, "sets": [], "lastStep": rows[-1]["_step"] if rows else -1}
        return {"project": {"run": {"historyKeys": keys}}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        is_new = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], StoredRun())
        run.facts |= {key: value for key, value in given.items() if value is not None}
        if given.get("config"):
            run.config |= json.loads(given["config"])
        project = {"id": "p", "name": given["project"], "entity": {"id": "1", "name": "team"}}
        bucket = {
            "id": given["name"], "name": given["name"], "displayName": given["displayName"], "sweepName": None,
            "description": None, "config": "{}", "project": project, "historyLineCount": len(run.rows),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{given['run']}/{name}"} for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        asked = given["input"]
        name, digest = asked["artifactCollectionName"], asked["digest"]
        known = self.artifacts.setdefault(f"{name}:{digest}", asked | {"state": "PENDING", "files": {}})
        known["aliases"] = asked["aliases"]
        sequence = {"latestArtifact": None}
        return {
            "createArtifact": {
                "artifact": {"id": f"{name}:{digest}", "state": known["state"], "artifactSequence": sequence}
            }
        }

    def _CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given["artifactID"]
        file = {
            "id": "f", "name": given["name"], "displayName": given["name"], "uploadHeaders": [],
            "uploadUrl": f"{self.url}/upload/artifact/{quote(key, safe='')}/{given['name']}",
        }  # fmt: skip
        return {"createArtifactManifest": {"artifactManifest": {"id": key, "file": file}}}

    def _UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        answer = self._CreateArtifactManifest(
            {"artifactID": given["artifactManifestID"], "name": "wandb_manifest.json"}
        )
        return {"updateArtifactManifest": answer["createArtifactManifest"]}

    def _CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        edges = [
            {
                "node": {
                    "storagePath": file["name"], "uploadHeaders": [], "uploadMultipartUrls": None,
                    "artifact": {"id": file["artifactID"]},
                    "uploadUrl": f"{self.url}/upload/artifact/{quote(file['artifactID'], safe='')}/{file['name']}",
                }
            }
            for file in given["input"]["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        known = self.artifacts[given["artifactID"]]
        known["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": known["digest"]}}}

    def _ArtifactByID(self, given: dict[str, Any]) -> dict[str, Any]:
        known = self.artifacts[given["id"]]
        project = {"id": "p", "internalId": "1", "name": "team-p", "entity": {"name": "team"}}
        sequence = {
            "__typename": "ArtifactSequence",
            "name": given["id"].partition(":")[0],
            "project": project,
        }
        return {
            "artifact": {
                "__typename": "Artifact", "id": given["id"], "artifactSequence": sequence, "versionIndex": 0,
                "artifactType": {"name": known["artifactTypeName"]}, "description": None, "metadata": "{}",
                "ttlDurationSeconds": -2, "ttlIsInherited": False, "tags": [], "historyStep": None,
                "state": known["state"], "size": 1, "digest": known["digest"], "commitHash": "x", "fileCount": 1,
                "digestAlgorithm": "MANIFEST_MD5", "createdAt": "2026-01-01T00:00:00", "updatedAt": None,
                "aliases": [],
            }
        }  # fmt: skip

    def _NotifyScriptableRunAlert(self, given: dict[str, Any]) -> dict[str, Any]:
        self.runs[given["runName"]].alerts.append(given)
        return {"notifyScriptableRunAlert": {"success": True}}

    def file_stream(self, run_id: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            run = self.runs.setdefault(run_id, StoredRun())
            for name, part in body.get("files", {}).items():
                for number, line in enumerate(part["content"], part["offset"]):
                    if name == "wandb-history.jsonl":
                        run.rows[number] = json.loads(line)
                    elif name == "output.log":
                        run.console[number] = line
                    elif name == "wandb-summary.json":
                        run.summary = json.loads(line)
            if body.get("complete"):
                run.exit_code = body.get("exitcode")
        return {"exitcode": None, "limits": {}}

    def upload(self, path: str, content: bytes) -> None:
        run_id, _, name = path.removeprefix("/upload/").partition("/")
        with self._lock:
            if run_id == "artifact":
                key, _, name = name.partition("/")
                self.artifacts[unquote(key)]["files"][name] = content
            else:
                self.runs[run_id].files[unquote(name)] = content


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that are killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wandb: WandbServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.wandb.status != 200:
            self._answer({"error": "no"}, self.wandb.status)
        elif self.path.startswith("/graphql"):
            asked = json.loads(body)
            self._answer({"data": self.wandb.graphql(asked["query"], asked.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self._answer(self.wandb.file_stream(self.path.split("/")[-2], json.loads(body)))
        else:
            self.wandb.upload(self.path, body)
            self._answer({})

    do_PUT = do_GET = do_POST

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def md5_of(content: bytes) -> str:
    """Return a checksum as W&B's manifests have it."""
    import hashlib

    return base64.b64encode(hashlib.md5(content).digest()).decode()
