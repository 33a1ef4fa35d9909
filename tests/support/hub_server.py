"""A stand-in for the server of the Hugging Face Hub, as far as the real `huggingface_hub` asks for runs."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_a_test"


class Hub:
    """Repositories of models: their commits, oldest first, each a mapping of names to contents.

    Attributes:
        repositories: by OWNER/NAME.
        refused: the answer to everything, if it is set.
    """

    def __init__(self):
        self.repositories, self.refused = {}, None

    def files(self, repository, revision):
        """The commit of a revision, and its files; None if there is no such revision."""
        commits = self.repositories[repository]
        names = {self.commit(repository, i): files for i, files in enumerate(commits)}
        revision = self.commit(repository, len(commits) - 1) if revision == "main" else revision
        return (revision, names[revision]) if revision in names else None

    def commit(self, repository, i):
        return hashlib.sha1(f"{repository} {i}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, code, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, code, kind):
        self.answer(code, {"error": kind}, X_Error_Code=kind, X_Error_Message=kind)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, parts = self.server.hub, self.path.partition("?")[0].strip("/").split("/")
        if hub.refused:
            return self.fail(*hub.refused)
        is_api = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if is_api else parts[:2])
        if repository not in hub.repositories:
            return self.fail(404, "RepoNotFound")
        rest = parts[4:] if is_api else parts[2:]
        found = hub.files(repository, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return self.fail(404, "RevisionNotFound")
        commit, files = found
        if is_api and rest and rest[0] == "tree":
            listed = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            return self.answer(200, listed, Content_Type="application/json")
        if is_api:
            siblings = [{"rfilename": name} for name in files]
            about = {
                "id": repository,
                "sha": commit,
                "siblings": siblings,
                "private": False,
                "tags": [],
                "downloads": 0,
            }
            return self.answer(200, about, Content_Type="application/json")
        name = "/".join(rest[2:])
        if name not in files:
            return self.fail(404, "EntryNotFound")
        return self.answer(200, files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"', X_Repo_Commit=commit)

    def do_POST(self):
        hub = self.server.hub
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.fail(401, "Unauthorized")
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[-1] == "validate-yaml":
            return self.answer(200, {"warnings": [], "errors": []})
        if parts[-1] == "create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in hub.repositories:
                return self.answer(409, {"error": "it is there", "url": f"/{name}"})
            hub.repositories[name] = [{}]
            return self.answer(200, {"url": f"{self.server.url}/{name}", "name": name})
        repository = "/".join(parts[2:4])
        if parts[4] == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        files = dict(hub.repositories[repository][-1])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        hub.repositories[repository].append(files)
        commit = hub.commit(repository, len(hub.repositories[repository]) - 1)
        return self.answer(200, {"commitUrl": f"{self.server.url}/{repository}/commit/{commit}", "commitOid": commit})


def serving(hub):
    """A server that answers for a `Hub`; its `url` is where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub, server.url = hub, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
