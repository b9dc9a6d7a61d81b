# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""No secret is shown anywhere, no failed login reaches a server, and checking a password costs one derivation.

The playbooks run with the real ansible-playbook against the embedded server, a CouchDB 3.4.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import embedded
import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import admins, users
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.dialect import Dialect
from plays import PROC, Ansible

WRITES = ("PUT", "DELETE", "POST", "COPY", "MOVE", "PATCH")
READING_POSTS = ("_all_docs", "_bulk_get", "_dbs_info")

# Every secret of these tests contains this, in letters that only Base64 changes.
CORE = "c4naryc4nary"


def canary(name: str) -> str:
    """A secret that can be found in any output, with characters that URLs must encode."""
    return f"p/{CORE}{name} @é:"


def hashed(password: str, salt: str) -> str:
    """The hash of a password, with few iterations."""
    return str(passwords.derive(password, prf="sha256", iterations=10, salt=salt))


LOGINS: dict[str, dict[str, str]] = {
    name: {"name": f"by_{name}", "password": canary(f"login{name}")}
    for name in ("option", "environment", "url", "cookie", "header")
}
SECRETS = {
    name: canary(name)
    for name in (
        "admin",
        "user",
        "listed_user",
        "setting",
        "attribute",
        "listed_attribute",
        "address",
        "header",
        "own",
        "replication",
        "document",
        "passphrase",
    )
}
# In a URL it is encoded. In a setting it has only characters of Latin-1, as CouchDB stores no others.
SECRETS["address"] = quote(SECRETS["address"], safe="")
HASHES = {"admin_hash": hashed("admin", "5a17ad"), "user_hash": hashed("user", "5a175e")}


def forbidden(cookie: str) -> set[str]:
    """Every string that must not be shown: the core of the secrets, their Base64, the keys of the hashes, the cookie."""
    found = {CORE, cookie, *(hash_.split(",")[0].rpartition("-")[2] for hash_ in HASHES.values())}
    for login in LOGINS.values():
        found.add(embedded.basic(login["name"], login["password"]))
    for shift in range(3):
        # The core inside Base64, at each possible offset. Its ends depend on the bytes around it.
        encoded = base64.b64encode(b" " * shift + CORE.encode()).decode()
        found.add(encoded[(0, 2, 3)[shift] : len(CORE)])
    return found


class Broken(http.server.BaseHTTPRequestHandler):
    """A server that answers every request with 500, and records the credentials."""

    def answer(self) -> None:
        """Answer any method."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = f"{self.headers['Authorization']} or {self.headers['Cookie']} can do nothing here."
        text = json.dumps({"error": "internal_server_error", "reason": told}).encode()
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def broken_url() -> Iterator[str]:
    """The URL of a server that answers every request with 500."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture
def dead_url() -> Iterator[str]:
    """A URL without a server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture
def cookie(server: embedded.Server) -> str:
    """The cookie of a session, after creating the admins who log in."""
    for login in LOGINS.values():
        path = f"/_node/_local/_config/admins/{login['name']}"
        assert server.request("PUT", path, hashed(login["password"], "5a1700"))[0] == 200
    form = json.dumps({"name": LOGINS["cookie"]["name"], "password": LOGINS["cookie"]["password"]}).encode()
    request = urllib.request.Request(server.url + "_session", form, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text: str = answer.headers["Set-Cookie"]
    return text.partition("=")[2].partition(";")[0]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("play", ["success.yml", "failure.yml"])
def test_nothing_shows_a_secret(
    play: str,
    server: embedded.Server,
    cookie: str,
    ansible: Ansible,
    data: Path,
    tmp_path: Path,
    dead_url: str,
    broken_url: str,
) -> None:
    logins: dict[str, dict[str, str]] = {name: dict(login) for name, login in LOGINS.items()}
    logins["cookie"]["cookie"] = cookie
    logins["header"]["basic"] = embedded.basic(logins["header"]["name"], logins["header"]["password"])
    variables = {
        "url": server.url,
        "dead_url": dead_url,
        "broken_url": broken_url,
        "logins": logins,
        "secrets": {**SECRETS, **HASHES},
    }
    environment = {"COUCHDB_PASSWORD": logins["environment"]["password"]}

    run = ansible.play(play, variables, "-vvv", "--diff", environment=environment)

    assert run.returncode == 0, run.output
    shown = {
        "the output": run.output,
        "the log": ansible.log.read_text("utf-8"),
        "the facts": "".join(file.read_text("utf-8") for file in ansible.facts.iterdir()),
        "syslog": ansible.syslog.read_text("utf-8"),
        "the server's journal": (tmp_path / "journal.jsonl").read_text("utf-8"),
        "the server's log": "".join(file.read_text("utf-8") for file in data.glob("node*/log/*")),
        "the list of processes": "\n".join(run.command_lines),
    }
    assert_all_was_watched(shown)
    leaks = {where: leaked(text, forbidden(cookie)) for where, text in shown.items()}
    assert {where: around for where, around in leaks.items() if around} == {}, json.dumps(leaks, indent=1)


def leaked(text: str, secrets: set[str]) -> list[str]:
    """The surroundings of each secret in a string."""
    places = {text.find(secret) for secret in secrets} - {-1}
    return sorted(text[max(0, place - 100) : place + 100] for place in places)


def assert_all_was_watched(shown: dict[str, str]) -> None:
    """An empty place proves nothing."""
    assert "module_args" in shown["the output"]
    assert "module_args" in shown["the log"]
    assert "returned" in shown["the facts"]
    assert "Invoked with" in shown["syslog"]
    assert "_config/admins/by_option" in shown["the server's journal"]
    assert "_config/admins/by_option" in shown["the server's log"]
    if PROC.joinpath("self/cmdline").exists():
        assert "ansible-playbook" in shown["the list of processes"]


@pytest.mark.timeout(600)
def test_no_failed_login_reaches_the_server(server: embedded.Server, ansible: Ansible) -> None:
    admins = [{"name": f"admin{number}", "password": f"test password of admin {number}"} for number in range(20)]
    users = [{"name": f"user{number}", "password": f"test password of user {number}"} for number in range(100)]
    variables = {
        "url": server.url,
        "username": server.username,
        "password": server.password,
        "admins": admins,
        "users": users,
    }

    first = ansible.play("fleet.yml", variables)
    assert first.returncode == 0, first.output
    assert first.recap["changed"] == 3
    made = server.journal()
    server.clear_journal()
    second = ansible.play("fleet.yml", variables)
    assert second.returncode == 0, second.output
    assert second.recap["changed"] == 0
    asked = server.journal()

    assert len(written(made)) >= 20 + 1
    assert asked
    assert written(asked) == []
    assert [entry for entry in made + asked if entry["failed_login"] or entry["status"] in (401, 403)] == []
    for account in (*admins[::9], *users[::33]):
        assert logged_in(server.url, **account) == account["name"]


def written(journal: list[dict[str, Any]]) -> list[str]:
    """The requests that may have changed something."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in journal
        if entry["method"] in WRITES
        and not (entry["method"] == "POST" and entry["path"].partition("?")[0].rpartition("/")[2] in READING_POSTS)
    ]


def logged_in(url: str, name: str, password: str) -> str:
    """The user of a session."""
    headers = {"Authorization": f"Basic {embedded.basic(name, password)}"}
    with urllib.request.urlopen(urllib.request.Request(url + "_session", headers=headers), timeout=30) as answer:
        who: str = json.load(answer)["userCtx"]["name"]
    return who


# The cost of checking passwords

THREE = Dialect("CouchDB", "3.4.3")
HASHING = {"prf": "sha256", "iterations": 10}
USER = {
    "password": None,
    "password_hash": None,
    "roles": None,
    "attributes": None,
    "state": "present",
    "update_password": "always",
}


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The number of key derivations since the last call."""
    calls: list[str] = []
    real = hashlib.pbkdf2_hmac

    def counted(*arguments: Any, **options: Any) -> bytes:
        calls.append(arguments[0])
        return real(*arguments, **options)

    def since() -> int:
        count = len(calls)
        calls.clear()
        return count

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    return since


def planned(given: list[dict[str, Any]], documents: dict[str, Any]) -> Any:
    """The plan of couchdb_user for users with these current documents."""
    desired = users.desire({**USER, "name": None, "users": [{**USER, **user} for user in given]})
    there = {user["name"]: documents.get(user["name"]) for user in given}
    return users.plan(desired, users.Observed(there, HASHING, THREE))


def test_a_password_costs_one_derivation(derivations: Callable[[], int]) -> None:
    given = [{"name": f"user{number}", "password": f"test password {number}"} for number in range(50)]
    made = planned(given, {})
    assert len(made.changes) == 50
    assert derivations() == 50

    documents = {name: {**document, "_rev": "1-a"} for name, document in made.predicted.documents.items()}
    assert planned(given, documents).changes == ()
    assert derivations() == 50

    assert planned([{**user, "update_password": "on_create"} for user in given], documents).changes == ()
    assert planned([{"name": user["name"]} for user in given], documents).changes == ()
    by_hash = [{"name": user["name"], "password_hash": HASHES["user_hash"]} for user in given]
    assert len(planned(by_hash, documents).changes) == 50
    assert len(planned([{"name": user["name"], "state": "absent"} for user in given], documents).changes) == 50
    assert derivations() == 0

    others = [{**user, "password": "another test password"} for user in given]
    assert len(planned(others, documents).changes) == 50
    assert derivations() == 100


@pytest.mark.parametrize(
    ("given", "changes", "cost"),
    [
        ({"password": "test password"}, 0, 1),
        ({"password": "test password", "update_password": "on_create"}, 0, 0),
        ({"password": "another test password"}, 3, 2),
        ({"password": "another test password", "update_password": "on_create"}, 0, 0),
        ({"password_hash": HASHES["admin_hash"]}, 3, 0),
        ({"state": "absent"}, 3, 0),
    ],
)
def test_a_password_costs_one_derivation_for_all_nodes(
    given: dict[str, str], changes: int, cost: int, derivations: Callable[[], int]
) -> None:
    there = {"root": hashed("root", "5a1701"), "managed": hashed("test password", "5a1702")}
    nodes = {f"node{number}@127.0.0.1": dict(there) for number in (1, 2, 3)}
    derivations()
    desired = admins.desire({**USER, "name": "managed", "admins": None, "nodes": ["all"], **given})
    plan = admins.plan(desired, admins.Observed(nodes, HASHING, THREE))
    assert len(plan.changes) == changes
    assert derivations() == cost
