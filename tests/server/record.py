# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""Record exchanges with a real CouchDB for the contract: ``record.py SCENARIO URL...``, one URL per node.

``scenarios.py`` holds the scenarios, one function each. The servers must be fresh, with the admin ``admin:secret``; the
scenario changes them, so use servers that can be thrown away. Of a scenario for one node the file is
``contract/couchdb-VERSION-SCENARIO.json``; names and ports of the nodes are written as the embedded server has them.

``--show`` prints the exchanges instead, to look at how a server answers.
"""

from __future__ import annotations

import argparse
import base64
import copy
import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import scenarios

CONTRACT = Path(__file__).resolve().parent / "contract"
USERNAME, PASSWORD = "admin", "secret"
RECORDED_AT = "127.0.0.1:15984"
RECORDED_HEADERS = ("Content-Type", "ETag", "Location", "Set-Cookie", "WWW-Authenticate")
PATIENCE = 300.0
PAUSE = 0.1


class Recorder:
    """Asks the nodes of a real CouchDB, and keeps each request with its answer."""

    def __init__(self, urls: list[str]) -> None:
        self._hosts = [urlsplit(url).netloc for url in urls]
        self._names: dict[str, str] = {}
        self.exchanges: list[dict[str, Any]] = []
        for number, _host in enumerate(self._hosts, 1):
            name = self._send({"node": number, "method": "GET", "path": "/_node/_local"})[2]["name"]
            self._names[name] = f"node{number}@127.0.0.1"
        self.version: str = self._send({"method": "GET", "path": "/"})[2]["version"]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self._hosts)

    def ask(
        self,
        method: str,
        path: str,
        *,
        note: str | None = None,
        until: Callable[[Any], Any] | None = None,
        **request: Any,
    ) -> Any:
        """Send a request, record it with its answer, and return the body of the answer.

        ``request`` holds what a request of the contract may have: ``json`` or ``raw`` (the body), ``as`` (a login, None
        for nobody), ``headers``, ``node``. With ``until``, the request is repeated until this is true of the body;
        what is recorded is the last answer, and the replay waits for it, too.
        """
        request = copy.deepcopy({"method": method, "path": path, **request})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                status, headers, body = self._send(request)
                if until is None or until(body):
                    break
            except OSError:
                if until is None:
                    raise
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} did not become as expected: {body}")
            time.sleep(PAUSE)
        exchange: dict[str, Any] = {"request": request, "response": {"status": status, "body": body}}
        kept = {name: headers[name] for name in RECORDED_HEADERS if name in headers}
        if kept and self.nodes == 1:
            exchange["response"]["headers"] = kept
        if until is not None:
            exchange["await"] = True
        if note is not None:
            exchange["note"] = note
        self.exchanges.append(exchange)
        if status == 200 and is_restart(request):
            wait_for_restart(self._hosts[request.get("node", 1) - 1])
        return copy.deepcopy(body)

    def _send(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        host = self._hosts[request.get("node", 1) - 1]
        connection = http.client.HTTPConnection(host, timeout=60)
        body, headers = prepared(request)
        path = self._real(request["path"])
        try:
            connection.request(request["method"], path, None if body is None else self._real(body).encode(), headers)
            answer = connection.getresponse()
            text = self._recorded(answer.read().decode(), host)
            told = {name: self._recorded(value, host) for name, value in answer.getheaders()}
            return answer.status, told, decoded(text)
        finally:
            connection.close()

    def _real(self, text: str) -> str:
        for real, recorded in self._names.items():
            text = text.replace(recorded, real)
        return text.replace(RECORDED_AT, self._hosts[0])

    def _recorded(self, text: str, host: str) -> str:
        for real, recorded in self._names.items():
            text = text.replace(real, recorded)
        return text.replace(host, RECORDED_AT)


def is_restart(request: dict[str, Any]) -> bool:
    """Whether a request restarts the node that it is sent to."""
    return bool(request["method"] == "POST" and request["path"] == "/_node/_local/_restart")


def wait_for_restart(host: str) -> None:
    """Wait until a node that was asked to restart has gone down and is up again."""
    deadline = time.monotonic() + PATIENCE
    for wanted in (False, True):
        while is_up(host) != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{host} did not {'come back' if wanted else 'go down'}")
            time.sleep(PAUSE / 10)


def is_up(host: str) -> bool:
    """Whether a node answers that it is up."""
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", "/_up")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def prepared(request: dict[str, Any]) -> tuple[str | None, dict[str, str]]:
    """The body of a request of the contract, and its headers."""
    headers = {"Accept": "application/json"}
    user = request.get("as", USERNAME)
    if user is not None:
        credentials = user if ":" in user else f"{user}:{PASSWORD}"
        headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
    body = json.dumps(request["json"]) if "json" in request else request.get("raw")
    if body is not None:
        headers["Content-Type"] = "application/json"
    return body, {**headers, **request.get("headers", {})}


def decoded(text: str) -> Any:
    """A body as JSON, as a string if it isn't JSON, None if it is empty."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def main() -> None:
    """Record one scenario."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("scenario", choices=sorted(scenarios.SCENARIOS))
    parser.add_argument("url", nargs="+")
    parser.add_argument("--show", action="store_true", help="print the exchanges, write no file")
    options = parser.parse_args()
    recorder = Recorder(options.url)
    try:
        scenarios.SCENARIOS[options.scenario](recorder.ask)
    finally:
        if options.show:
            for exchange in recorder.exchanges:
                request, response = exchange["request"], exchange["response"]
                print(request["method"], request["path"], response["status"], json.dumps(response["body"]))
    if not options.show:
        server = f"CouchDB {recorder.version}" + (f", {recorder.nodes} nodes" if recorder.nodes > 1 else "")
        path = CONTRACT / f"couchdb-{recorder.version}-{options.scenario}.json"
        text = json.dumps({"server": server, "exchanges": recorder.exchanges}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{len(recorder.exchanges)} exchanges in {path}")


if __name__ == "__main__":
    main()
