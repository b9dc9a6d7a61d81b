# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that no module should take for its CouchDB: ``strangers.py FILE``.

Writes to FILE, as JSON, its process id (``pid``) and two ports of 127.0.0.1. At ``port`` something answers: with a web
page below /page/, as a CouchDB that refuses a login below /refusing/, and below /requests/ with the list of the requests
so far. At ``closed`` nothing does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

requests: list[str] = []


class Stranger(BaseHTTPRequestHandler):
    """Answers each request by the beginning of its path."""

    def answer(self) -> None:
        """Answer any method."""
        if self.path.startswith("/requests/"):
            self.send(200, "application/json", json.dumps(requests))
            return
        requests.append(f"{self.command} {self.path}")
        if self.path.startswith("/refusing/"):
            refusal = {"error": "unauthorized", "reason": "Name or password is incorrect."}
            self.send(401, "application/json", json.dumps(refusal))
        else:
            self.send(200, "text/html", "<html><body>Welcome</body></html>")

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = answer

    def send(self, status: int, kind: str, text: str) -> None:
        """Send an answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    """Write the file, then answer until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    # Bound without listening, so that nothing else can answer there.
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    told = {"pid": os.getpid(), "port": server.server_port, "closed": closed.getsockname()[1]}
    unready = sys.argv[1] + ".new"
    with open(unready, "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.replace(unready, sys.argv[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
