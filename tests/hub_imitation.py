"""Imitates a model hub on this machine, with the few answers of the Hugging Face hub that downloading a snapshot needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serve_model(repo: str, commit: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the files of `folder` as `repo` at `commit`; gives the address and the list of paths asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repo, commit, folder, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def _handler(repo: str, commit: str, folder: Path, asked: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(path)
            if path.startswith(f"/api/models/{repo}"):
                self.send(self.tree() if "/tree/" in path else self.info(), "application/json", with_body)
            elif path.startswith(f"/{repo}/resolve/") and (folder / path.rpartition("/")[2]).is_file():
                self.send((folder / path.rpartition("/")[2]).read_bytes(), "application/octet-stream", with_body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.end_headers()

        def info(self) -> bytes:
            siblings = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
            return json.dumps({"id": repo, "sha": commit, "siblings": siblings, "tags": [], "private": False}).encode()

        def tree(self) -> bytes:
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0"}
                for path in folder.iterdir()
            ]
            return json.dumps(files).encode()

        def send(self, body: bytes, kind: str, with_body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    return Handler
