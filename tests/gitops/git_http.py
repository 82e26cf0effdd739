"""`python -m tests.gitops.git_http FOLDER PORT`: serves the git repositories in FOLDER for reading, on loopback.

git itself answers each request, by its own CGI program.
"""

import os
import subprocess
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BACKEND = ("git", "http-backend")


class Handler(BaseHTTPRequestHandler):
    """A request to git's CGI program, and back."""

    def do_GET(self) -> None:
        """Which commits there are."""
        self._answer(b"")

    def do_POST(self) -> None:
        """The commits that somebody lacks."""
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        request = {
            "GIT_PROJECT_ROOT": sys.argv[1],
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(BACKEND, input=body, stdout=subprocess.PIPE, env=os.environ | request, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = headers.pop("Status", "500" if done.returncode else "200")
        self.send_response(HTTPStatus(int(status.split()[0])))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
