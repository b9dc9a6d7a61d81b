# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""The embedded server with an etc directory: what it reads and writes, and nodes in separate processes."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parent / "run.py"
READY = 60.0
SPREAD = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """One server with an etc directory of its own."""

    def __init__(self, folder: Path, address: str, port: int, distribution: int, cookie: str = "crumbs") -> None:
        self.etc = folder / "etc"
        self.address = address
        self.name = f"couchdb@{address}"
        self.url = f"http://{address}:{port}"
        self._process: subprocess.Popen[str] | None = None
        self.last = self.write("local.d/zz.ini", "; CouchDB's own\n")
        self.write(
            "default.ini", f"[couchdb]\ndatabase_dir = ./data\n[chttpd]\nport = {port}\nbind_address = {address}\n"
        )
        self.write("local.d/10-admins.ini", "[admins]\nadmin = secret\n")
        interface = ",".join(address.split("."))
        self.write(
            "vm.args",
            f"# Arguments\n-name {self.name}\n-setcookie '{cookie}'\n"
            f"-kernel inet_dist_use_interface {{{interface}}}\n-kernel inet_dist_listen_min {distribution}\n",
        )

    def write(self, name: str, text: str) -> Path:
        path = self.etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self) -> None:
        command = [sys.executable, str(RUN), "--etc", str(self.etc), "--version", "3.5.1"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == f"{self.url}/", self.stop()

    def stop(self) -> tuple[int, str]:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        _out, said = self._process.communicate(timeout=READY)
        return self._process.returncode, said

    def refusal(self) -> str:
        """The output of a server that does not start."""
        command = [sys.executable, str(RUN), "--etc", str(self.etc)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=READY, check=False
        )
        assert done.returncode == 1
        return done.stderr

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def ask(self, method: str, path: str, body: Any = None, user: str = "admin:secret") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


@pytest.fixture
def daemon(tmp_path):
    one = Daemon(tmp_path, "127.0.0.1", free_port(), free_port())
    yield one
    one.close()


def test_the_files_are_read_in_couchdbs_order(daemon):
    daemon.write("default.d/a.ini", "[log]\nlevel = error\n[couchdb]\nmax_dbs_open = 1\n")
    daemon.write("local.ini", "[couchdb]\nmax_dbs_open = 2\nmax_document_size = 1\n")
    daemon.write("local.d/20-more.ini", "[couchdb]\nmax_dbs_open = 3\n")
    daemon.write("local.d/30-no-ini.txt", "[couchdb]\nmax_dbs_open = 4\n")
    daemon.start()
    settings = daemon.ask("GET", "/_node/_local/_config")
    assert settings["log"]["level"] == "error"
    assert settings["couchdb"]["max_dbs_open"] == "3"
    assert settings["couchdb"]["max_document_size"] == "1"
    assert daemon.ask("GET", "/")["version"] == "3.5.1"
    assert daemon.ask("GET", "/_node/_local") == {"name": "couchdb@127.0.0.1"}


def test_settings_go_to_the_last_file_and_keep_its_other_lines(daemon):
    daemon.last.write_text("; CouchDB's own\n[log]\nlevel = info\n; to stay\n\n[chttpd]\nmax_http_request_size = 1\n")
    daemon.last.chmod(0o640)
    before = (daemon.etc / "local.d/10-admins.ini").read_text()
    daemon.start()
    assert daemon.ask("PUT", "/_node/_local/_config/log/level", "error") == "info"
    assert daemon.ask("PUT", "/_node/_local/_config/log/file", "/dev/null") == ""
    assert daemon.ask("PUT", "/_node/_local/_config/cors/origins", "*") == ""
    assert daemon.ask("DELETE", "/_node/_local/_config/chttpd/max_http_request_size") == "1"
    daemon.stop()
    lines = daemon.last.read_text().splitlines()
    assert lines[:5] == ["; CouchDB's own", "[log]", "level = error", "; to stay", "file = /dev/null"]
    assert "origins = *" in lines
    assert not [line for line in lines if line.startswith("max_http_request_size")]
    assert daemon.last.stat().st_mode & 0o777 == 0o640
    assert (daemon.etc / "local.d/10-admins.ini").read_text() == before


def test_a_plain_password_is_hashed_into_the_last_file(daemon):
    daemon.start()
    assert daemon.ask("GET", "/_session")["userCtx"]["roles"] == ["_admin"]
    daemon.stop()
    assert "admin = -pbkdf2:sha256-" in daemon.last.read_text()
    assert "uuid = " in daemon.last.read_text()
    first = daemon.last.read_text()
    daemon.start()
    daemon.stop()
    assert daemon.last.read_text() == first


def test_it_stops_cleanly_and_keeps_its_data(daemon):
    daemon.start()
    assert daemon.ask("PUT", "/kept") == {"ok": True}
    assert daemon.ask("PUT", "/kept/doc", {"a": 1})["ok"]
    status, _said = daemon.stop()
    assert status == 0
    assert (daemon.etc.parent / "data/shards").is_dir()
    daemon.start()
    assert daemon.ask("GET", "/kept/doc")["a"] == 1


def test_it_logs_to_the_file_in_the_settings_or_to_standard_error(daemon, tmp_path):
    daemon.start()
    assert "Time to relax" in daemon.stop()[1]
    log = tmp_path / "log/couchdb.log"
    daemon.write("default.d/10-filelog.ini", f"[log]\nwriter = file\nfile = {log}\n")
    daemon.start()
    assert "Time to relax" not in daemon.stop()[1]
    assert log.read_text().count("Time to relax") == 1


def test_a_single_node_creates_the_system_databases(daemon):
    daemon.write("local.ini", "[couchdb]\nsingle_node = true\n")
    daemon.start()
    assert daemon.ask("GET", "/_all_dbs") == ["_replicator", "_users"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("local.d/10-admins.ini", "[admins]\n", "no admin is set"),
        ("local.ini", "[chttpd]\nport = x\n", "does not start with the setting chttpd/port: x"),
        ("vm.args", "-name couchdb@localhost\n-setcookie crumbs\n", "-name must be NAME@HOST"),
        ("vm.args", "-setcookie crumbs\n", "-name must be NAME@HOST"),
    ],
)
def test_what_keeps_it_from_starting(daemon, name, text, said):
    daemon.write(name, text)
    assert said in daemon.refusal()


def test_etc_excludes_other_options(daemon):
    done = subprocess.run(
        [sys.executable, str(RUN), "--etc", str(daemon.etc), "--admin", "a:b"],
        capture_output=True,
        text=True,
        timeout=READY,
        check=False,
    )
    assert done.returncode == 1
    assert "--etc says all of it" in done.stderr


def until(true: Any) -> None:
    """Wait until other nodes know of a change."""
    deadline = time.monotonic() + SPREAD
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def three(tmp_path):
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.1.3", 0))
    except OSError:
        pytest.skip("this system has one loopback address")
    port, distribution = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in (1, 2, 3):
            node = Daemon(tmp_path / str(number), f"127.0.1.{number}", port, distribution)
            node.write("local.ini", "[couchdb]\nuuid = 0123\n[chttpd_auth]\nsecret = salt\n")
            stack.callback(node.close)
            nodes.append(node)
        yield nodes


def members(node: Daemon) -> tuple[list[str], list[str]]:
    answer = node.ask("GET", "/_membership")
    return answer["all_nodes"], answer["cluster_nodes"]


def join(nodes: list[Daemon]) -> None:
    for node in nodes:
        node.start()
    names = [node.name for node in nodes]
    for name in names[1:]:
        assert nodes[0].ask("PUT", f"/_node/_local/_nodes/{name}", {})["ok"]
    until(lambda: all(members(node) == (names, names) for node in nodes))


def test_nodes_in_separate_processes_become_a_cluster(three):
    join(three)
    one, two, other = three
    assert one.ask("POST", "/_cluster_setup", {"action": "finish_cluster"}) == {"ok": True}
    assert [node.ask("GET", "/_all_dbs") for node in three] == [["_replicator", "_users"]] * 3
    assert two.ask("PUT", "/shared") == {"ok": True}
    assert other.ask("PUT", "/shared/doc", {"a": 1})["ok"]
    assert [node.ask("GET", "/shared/doc")["a"] for node in three] == [1, 1, 1]
    assert one.ask("PUT", "/shared/_security", {"members": {"roles": ["r"]}}) == {"ok": True}
    assert other.ask("GET", "/shared/_security") == {"members": {"roles": ["r"]}}
    anna = {"name": "anna", "type": "user", "roles": ["r"], "password": "pw"}
    assert one.ask("PUT", "/_users/org.couchdb.user:anna", anna)["ok"]
    assert two.ask("GET", "/_session", user="anna:pw")["userCtx"] == {"name": "anna", "roles": ["r"]}
    assert two.ask("GET", "/shared/doc", user="anna:pw")["a"] == 1
    assert other.ask("DELETE", "/shared") == {"ok": True}
    assert one.ask("GET", "/shared")["error"] == "not_found"


def test_a_node_is_reached_through_another_one(three):
    join(three)
    one, _two, other = three
    assert one.ask("PUT", f"/_node/{other.name}/_config/log/level", "error") == ""
    assert other.ask("GET", "/_node/_local/_config/log/level") == "error"
    assert one.ask("GET", f"/_node/{other.name}") == {"name": other.name}
    assert one.ask("GET", "/_node/couchdb@127.0.1.9")["reason"] == "no such node: couchdb@127.0.1.9"


def test_a_cluster_survives_the_loss_of_a_node(three):
    join(three)
    one, two, other = three
    assert two.ask("PUT", "/kept?q=1") == {"ok": True}
    assert two.ask("PUT", "/kept/before", {})["ok"]
    # The other nodes copy writes within about a second, and nothing reports it.
    time.sleep(5)
    two.stop()
    until(lambda: members(one)[0] == [one.name, other.name])
    assert one.ask("GET", f"/_node/{two.name}")["error"] == "nodedown"
    until(lambda: other.ask("GET", "/kept/before").get("_id") == "before")
    assert other.ask("PUT", "/kept/meanwhile", {})["ok"]
    assert other.ask("PUT", "/new") == {"ok": True}
    two.start()
    until(lambda: len(members(one)[0]) == 3)
    assert two.ask("GET", "/_all_dbs") == ["kept", "new"]
    until(lambda: two.ask("GET", "/kept/meanwhile").get("_id") == "meanwhile")


def test_a_removed_node_gets_no_more_changes(three):
    join(three)
    one, two, other = three
    rev = one.ask("GET", f"/_node/_local/_nodes/{other.name}")["_rev"]
    assert one.ask("DELETE", f"/_node/_local/_nodes/{other.name}?rev={rev}")["ok"]
    until(lambda: members(two)[1] == [one.name, two.name])
    assert one.ask("PUT", "/later") == {"ok": True}
    assert two.ask("GET", "/_all_dbs") == ["later"]
    assert other.ask("GET", "/_all_dbs") == []
    assert len(members(other)[1]) == 3


def test_shard_maps_can_be_changed(three):
    join(three)
    one, two, other = three
    assert one.ask("PUT", "/moved?n=2&q=1") == {"ok": True}
    doc = one.ask("GET", "/_node/_local/_dbs/moved")
    (holders,) = doc["by_range"].values()
    (left,) = {node.name for node in three} - set(holders)
    text = json.dumps(doc).replace(holders[0], left)
    assert one.ask("PUT", "/_node/_local/_dbs/moved", {**json.loads(text), "_rev": "1-old"})["error"] == "conflict"
    assert one.ask("PUT", "/_node/_local/_dbs/moved", json.loads(text))["ok"]
    (now,) = other.ask("GET", "/moved/_shards")["shards"].values()
    assert sorted(now) == sorted([left, holders[1]])
    assert two.ask("GET", "/_node/_local/_dbs/moved")["by_node"].keys() == set(now)


def test_another_cookie_is_rejected(three, tmp_path):
    one, two, _other = three
    shutil.rmtree(two.etc)
    port, distribution = int(one.url.rsplit(":", 1)[1]), int((one.etc / "vm.args").read_text().split()[-1])
    stranger = Daemon(tmp_path / "2", "127.0.1.2", port, distribution, cookie="others")
    try:
        one.start()
        stranger.start()
        assert one.ask("PUT", f"/_node/_local/_nodes/{stranger.name}", {})["ok"]
        time.sleep(2)
        assert members(one) == ([one.name], [one.name, stranger.name])
        assert members(stranger) == ([stranger.name], [stranger.name])
        assert "rejected" in stranger.stop()[1]
    finally:
        stranger.close()


def test_the_cookie_is_in_the_home_of_the_user_when_the_arguments_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with contextlib.closing(Daemon(tmp_path, "127.0.0.1", free_port(), free_port())) as daemon:
        arguments = daemon.etc / "vm.args"
        arguments.write_text("".join(line for line in arguments.open() if not line.startswith("-setcookie")))
        cookie = tmp_path / ".erlang.cookie"
        cookie.write_text("crumbs")
        cookie.chmod(0o640)
        assert "must be accessible by owner only" in daemon.refusal()
        cookie.chmod(0o400)
        daemon.start()
        assert daemon.stop()[0] == 0


def test_an_environment_variable_names_the_ini_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(Daemon(tmp_path, "127.0.0.1", free_port(), free_port())) as daemon:
        more = tmp_path / "more.ini"
        more.write_text("[couchdb]\nmaintenance_mode = true\n")
        named = [daemon.etc / "default.ini", more, daemon.etc / "local.d"]
        monkeypatch.setenv("COUCHDB_INI_FILES", " ".join(map(str, named)))
        daemon.start()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{daemon.url}/_up")
        assert caught.value.code == 404
        assert daemon.stop()[0] == 0
