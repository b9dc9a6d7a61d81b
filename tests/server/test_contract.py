# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""The embedded server answers as CouchDB does: each recorded exchange is replayed and compared.

``contract/`` holds exchanges recorded with CouchDB 3.3.3, 3.4.3, 3.5.2 and a cluster of three 3.4.3 nodes. Each file
is replayed in order against a server of its own, one test an exchange. Compared are the status, the recorded headers,
and the body: the same keys at every depth, the same types, the same values. What may differ is what the tables below
name, and for nearly all of it the form must match all the same.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import embedded
from record import PASSWORD, RECORDED_AT, USERNAME, decoded, is_restart, prepared, wait_for_restart

#: File → the embedded server it is replayed against: (dialect, nodes).
FILES = {
    "couchdb-3.4.3.json": ("3", 1),
    "couchdb-3.5.2.json": ("3", 1),
    "couchdb-3.3.3.json": ("3.3", 1),
    "couchdb-3.4.3-cluster.json": ("3", 3),
    "couchdb-3.5.0-shards.json": ("3", 3),
    "couchdb-3.4.3-settings.json": ("3", 1),
    "couchdb-3.4.3-documents.json": ("3", 1),
    "couchdb-3.4.3-keys.json": ("3", 1),
}

#: Strings with a form but no fixed value: name → (form, why). With ``alike``, equal strings in the recording must be equal
#: strings in the answers.
FORMS: dict[str, tuple[str, str]] = {
    "admin hash, alike": (r"-pbkdf2(:sha256)?-[0-9a-f]+,[0-9a-f]+,\d+", "made with a random salt"),
    "revision, alike": (r"\d+-[0-9a-f]{32}", "a digest of CouchDB's inner form of a document"),
    "replication, alike": (
        r"[0-9a-f]{32}\+(continuous|create_target|\+)+",
        "a digest that the server's uuid and port go into",
    ),
    "hex, alike": (r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", "uuids, salts, derived keys, signatures"),
    "sequence": (r"\d+-g[12][\w-]+", "opaque; its number counts the shards' own writes too"),
    "digest, alike": (r"md5-[\w+/]{22}==", "of what is compressed, or not"),
    "job, alike": (r"001-[0-9a-f]{64}", "a digest that the node's name goes into"),
    "moment": (r"1\d{15}", "the microsecond a shard was made"),
    "start": (r"1\d{9}", "the second a database was made"),
    "time": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "when it happened"),
    "date": (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "when it happened"),
    "process": (r"<0\.\d+\.0>", "the id of an Erlang process"),
    "shard file": (r"shards/[0-9a-f]{8}-[0-9a-f]{8}/[^/]+\.\d+", "named after the second the database was made"),
    "etag": (r"[0-9A-Z]{20,26}", "a digest of the answer"),
}

#: Values that vary by nature: (request, place in the body, why). Their types are compared.
VARIES: list[tuple[str, str, str]] = [
    (r"GET /$", r"uuid", "the server's own"),
    (r"/_config$", r"couchdb\.uuid|chttpd_auth\.secret", "the server's own"),
    (r"/_config$", r"chttpd\.(port|bind_address)|couchdb\.\w+_dir|smoosh\.state_dir", "where this server runs"),
    (r"/_system$", r"(memory\.)?\w+|(message_queues|distribution)\..+", "measurements"),
    (r"/_stats", r"(.+\.)?value(\.(?!percentile\[\d+\]\[0\]).+)?", "measurements"),
    (r"", r"(.+\.)?sizes\.(file|external|active)", "how many bytes a storage takes"),
    (r"/_info$", r"view_index\.(update_seq|waiting_commit)", "the shards' own writes; whether the disk has them yet"),
    (r"", r"ref", "a digest of a stack trace"),
    (r"/_dbs/", r"shard_suffix\[\d+\]", "the second a database was made"),
    (r"/shards%2F", r"(.+\.)?(update_seq|committed_update_seq|seq|last_seq)", "changes of settings count, too"),
    (r"/_active_tasks$", r"\[\d+\]\.(started_on|updated_on)", "when it happened"),
]

#: Lists without a fixed order: (request, place, why).
UNORDERED: list[tuple[str, str, str]] = [
    (r"/_shards$", r"shards\..+", "which copy comes first is chosen by a digest"),
    (r"/_scheduler/jobs$", r"jobs\[\d+\]\.history", "both entries carry the same second"),
    (r"/_reshard/jobs$", r"|jobs", "jobs come in any order"),
    (r"open_revs=all$", r"", "in the order of revisions, which are digests"),
]

#: Differences of another version from the dialect's: file → [(request, place, why)].
VERSION: dict[str, list[tuple[str, str, str]]] = {
    "couchdb-3.5.2.json": [
        (r"GET /$", r"version|git_sha", "the version itself"),
        (r"/_system$", r"bt_engine_cache", "new in 3.5"),
        (r"/_stats$", r"couchdb\.bt_engine_cache", "new in 3.5"),
        (
            r"/_system$",
            r"message_queues\.(couch_cfile|couch_index_cleanup|couch_secrets|gun_\w+|mem3_db_doc_updater|nouveau_gun)",
            "processes of 3.5",
        ),
        (
            r"GET .*/admins(/.*)?$",
            r"|bob|carl|a/b c",
            "hashed a moment after it is set: the recording caught the plain text",
        ),
    ],
}

#: Files that begin with nodes that have joined.
JOINED = {"couchdb-3.5.0-shards.json"}

#: Requests that are repeated until the answer is as recorded, and the seconds that this may take.
AWAITED = r"GET (/_scheduler/.*|/_active_tasks|/_replicator/one|/_membership|/_node/_local/_system)$"
PATIENCE = 20.0


def load(name: str) -> list[dict[str, Any]]:
    exchanges: list[dict[str, Any]] = json.loads((HERE / "contract" / name).read_text(encoding="utf-8"))["exchanges"]
    return exchanges


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "index" in metafunc.fixturenames:
        cases, names = [], []
        for name in FILES:
            for index, exchange in enumerate(load(name)):
                request = exchange["request"]
                # The name of the file makes each value unique, or pytest would mix the exchanges of several files.
                cases.append((name, (name, index)))
                names.append(f"{name[8:-5]}-{index:03d}-{request['method']}-{request['path'][:60]}")
        metafunc.parametrize(("replay", "index"), cases, ids=names, indirect=["replay"], scope="module")


class Mismatch(AssertionError):
    """An answer differs from the recorded one. The message says where."""


class Replay:
    """Replays one file against one server, and compares."""

    def __init__(self, name: str, server: embedded.Server) -> None:
        self.name = name
        self.exchanges = load(name)
        self.server = server
        self.done = 0
        self._restarted = time.monotonic()
        #: Recorded string → the string that takes its place here.
        self.known: dict[str, str] = {}

    def run(self, index: int) -> None:
        """Replays one exchange and compares it. Exchanges before it that are not selected are replayed without comparison."""
        while self.done < index:
            with contextlib.suppress(Mismatch):
                self._step()
        self._step()

    def _step(self) -> None:
        exchange = self.exchanges[self.done]
        self.done += 1
        label = "{method} {path}".format(**exchange["request"])
        awaited = exchange.get("await") or re.fullmatch(AWAITED, label)
        deadline = time.monotonic() + (PATIENCE if awaited else 0)
        while True:
            try:
                status, headers, body = self._ask(exchange["request"])
                self._compare(label, exchange, status, headers, body)
                if status == 200 and is_restart(exchange["request"]):
                    self._restarted = time.monotonic()
                    wait_for_restart(self._host(exchange["request"]))
                return
            except (Mismatch, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _host(self, request: dict[str, Any]) -> str:
        return urlsplit(self.server.urls[request.get("node", 1) - 1]).netloc

    def _ask(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        host = self._host(request)
        body, headers = prepared(request)
        sent = None if body is None else self._translate(body, host).encode()
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(request["method"], self._translate(request["path"], host), sent, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), decoded(answer.read().decode())
        finally:
            connection.close()

    def _translate(self, text: str, address: str) -> str:
        """A recorded request with the host of this server, and the revisions and hashes that it returned."""
        text = text.replace(RECORDED_AT, address)
        return re.sub(
            r"-pbkdf2[^\"]+|001-[0-9a-f]{64}|\d+-[0-9a-f]{32}|[0-9a-f]{32,64}|\.1\d{9}",
            lambda found: self.known.get(found[0], found[0]),
            text,
        )

    def _compare(self, label: str, exchange: dict[str, Any], status: int, headers: dict[str, str], body: Any) -> None:
        recorded = exchange["response"]
        learned: dict[str, str] = {}
        comparison = Comparison(self.name, label, self.known, learned)
        comparison.since_restart = time.monotonic() - self._restarted
        comparison.value("status", recorded["status"], status)
        address = self._host(exchange["request"])
        comparison.headers(recorded.get("headers", {}), headers, address)
        comparison.value("", recorded["body"], self._home(body, address))
        if comparison.problems:
            raise Mismatch(f"{label}\n  " + "\n  ".join(comparison.problems))
        self.known.update(learned)
        suffixes = [
            found.get("shard_suffix") if isinstance(found, dict) else None for found in (recorded["body"], body)
        ]
        if all(suffixes):
            self.known.update([tuple(bytes(codes or []).decode() for codes in suffixes)])

    def _home(self, body: Any, address: str) -> Any:
        """An answer with the recorded host in place of this server's."""
        return json.loads(json.dumps(body).replace(address, RECORDED_AT))


class Comparison:
    """Compares a recorded answer with a given one, and collects the differences that are not allowed."""

    def __init__(self, name: str, label: str, known: dict[str, str], learned: dict[str, str]) -> None:
        self.label = label
        self.known = known
        self.learned = learned
        self.problems: list[str] = []
        #: Seconds since the request to restart.
        self.since_restart = 0.0
        self._varies = self._places(VARIES)
        self._unordered = self._places(UNORDERED)
        self._version = self._places(VERSION.get(name, []))

    def _places(self, table: list[tuple[str, str, str]]) -> list[re.Pattern[str]]:
        return [re.compile(place) for request, place, _why in table if re.search(request, self.label)]

    def headers(self, recorded: dict[str, str], given: dict[str, str], address: str) -> None:
        for name, value in recorded.items():
            answered = given.get(name)
            if answered is None:
                self.problems.append(f"header {name} is missing")
            elif name == "Set-Cookie":
                self.value(name, cookie(value), cookie(answered))
            elif name == "ETag":
                self.value(name, value.strip('"'), answered.strip('"'))
            else:
                self.value(name, value, answered.replace(address, RECORDED_AT))

    def value(self, place: str, recorded: Any, given: Any) -> None:
        if any(pattern.fullmatch(place) for pattern in self._version):
            return
        if isinstance(recorded, dict) and isinstance(given, dict):
            self._object(place, recorded, given)
        elif isinstance(recorded, list) and isinstance(given, list):
            self._list(place, recorded, given)
        elif kind(recorded) != kind(given):
            self.problems.append(f"{place or 'body'}: recorded {recorded!r}, answered {given!r}")
        elif place == "uptime" and recorded == 0:
            # It has just restarted.
            if given > self.since_restart + 1:
                self.problems.append(f"uptime: recorded 0, answered {given}")
        elif any(pattern.fullmatch(place) for pattern in self._varies):
            return
        elif not (isinstance(recorded, str) and self._alike(recorded, given)) and recorded != given:
            self.problems.append(f"{place or 'body'}: recorded {recorded!r}, answered {given!r}")

    def _object(self, place: str, recorded: dict[str, Any], given: dict[str, Any]) -> None:
        for key in [*recorded, *(key for key in given if key not in recorded)]:
            below = f"{place}.{key}" if place else key
            if key in recorded and key in given:
                self.value(below, recorded[key], given[key])
            elif any(pattern.fullmatch(below) for pattern in self._version):
                continue
            elif key in recorded:
                self.problems.append(f"{below} is missing, recorded {recorded[key]!r}")
            elif place != "message_queues":
                # Which processes are registered varies: some start later than others.
                self.problems.append(f"{below} was not recorded, answered {given[key]!r}")

    def _list(self, place: str, recorded: list[Any], given: list[Any]) -> None:
        if len(recorded) != len(given):
            self.problems.append(f"{place or 'body'}: recorded {recorded!r}, answered {given!r}")
            return
        if any(pattern.fullmatch(place) for pattern in self._unordered):
            recorded = sorted(recorded, key=lambda item: order(item, self._translated))
            given = sorted(given, key=order)
        for index, (one, other) in enumerate(zip(recorded, given, strict=False)):
            self.value(f"{place}[{index}]", one, other)

    def _translated(self, text: str) -> str:
        """A recorded string with the revisions of this server."""
        return re.sub(r"\d+-[0-9a-f]{32}", lambda found: self.known.get(found[0], found[0]), text)

    def _alike(self, recorded: str, given: str) -> bool:
        """Whether both strings have the same of the forms without a fixed value."""
        for name, (form, _why) in FORMS.items():
            if not re.fullmatch(form, recorded):
                continue
            if not re.fullmatch(form, given) or len(form_digits(name, recorded)) != len(form_digits(name, given)):
                return False
            if name.startswith("revision") and recorded.split("-")[0] != given.split("-")[0]:
                return False
            if not name.endswith("alike"):
                return True
            expected = self.known.get(recorded, self.learned.get(recorded))
            if expected is not None and expected != given:
                return False
            self.learned[recorded] = given
            return True
        return False


def order(item: Any, translated: Callable[[str], str] = str) -> str:
    """What an item of a list without order is sorted by: the node, if it belongs to one."""
    if isinstance(item, dict) and "node" in item:
        return str(item["node"])
    return translated(json.dumps(item, sort_keys=True))[-60:]


def form_digits(name: str, text: str) -> str:
    """The part whose length must be equal: the digits of hashes."""
    return re.sub(r"[^0-9a-f]", "", text) if name.startswith("hex") else ""


def kind(value: Any) -> str:
    """The JSON type; integers and floats are numbers."""
    if isinstance(value, bool) or value is None:
        return str(type(value))
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def cookie(header: str) -> dict[str, Any]:
    """A Set-Cookie header: whether it contains a session, and its attributes."""
    first, *attributes = header.split("; ")
    name, _equals, value = first.partition("=")
    found: dict[str, Any] = dict(attribute.partition("=")[::2] for attribute in attributes)
    found["Expires"] = bool(re.fullmatch(r"\w{3}, \d\d-\w{3}-\d{4} \d\d:\d\d:\d\d GMT", found.get("Expires", "")))
    return {"name": name, "session": bool(value), **found}


@pytest.fixture(scope="module")
def replay(request: pytest.FixtureRequest) -> Iterator[Replay]:
    name: str = request.param
    dialect, nodes = FILES[name]
    with embedded.server(dialect=dialect, nodes=nodes, admin=f"{USERNAME}:{PASSWORD}") as server:
        if nodes == 1:
            # The recordings began some seconds after the start, so that the uptime shows a restart.
            time.sleep(2.5)
        if name in JOINED:
            server.join()
        yield Replay(name, server)


def test_exchange(replay: Replay, index: tuple[str, int]) -> None:
    replay.run(index[1])
