# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CouchDB that has no databases, as one that was never set up: ``without_users.py FILE``.

Writes to FILE, as JSON, its process id (``pid``) and its port of 127.0.0.1 (``port``). It welcomes, has one setting,
knows no database, and answers at /requests with the list of the requests so far.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WELCOME = {"couchdb": "Welcome", "version": "3.4.3", "vendor": {"name": "The Apache Software Foundation"}}
SETTINGS = {"log": {"level": "info"}}
requests: list[str] = []


class Bare(BaseHTTPRequestHandler):
    """Answers each request by its path."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/requests":
            self.send(200, requests)
            return
        requests.append(f"{self.command} {self.path}")
        if self.path == "/":
            self.send(200, WELCOME)
        elif self.path.startswith("/_node/"):
            self.send(200, SETTINGS)
        else:
            self.send(404, {"error": "not_found", "reason": "Database does not exist."})

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = answer

    def send(self, status: int, body: object) -> None:
        """Send an answer."""
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


def main() -> None:
    """Write the file, then answer until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bare)
    unready = sys.argv[1] + ".new"
    with open(unready, "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "port": server.server_port}, file)
    os.replace(unready, sys.argv[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
