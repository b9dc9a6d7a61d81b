# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Direct execution: the same results as those of a module, in the cases that can be direct, without a trace in the process."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playbook_runs import COUNTED, ROOT, Ended, Plays, settled

sys.path.append(str(ROOT / "tests" / "server"))

import embedded

pytestmark = pytest.mark.timeout(1800)

NOWHERE = "http://127.0.0.1:9/"
DIRECT = "direct execution in this process"
CANARY = "c4n4ry of a test"


def task(module: str, options: t.Any, **keywords: t.Any) -> dict[str, t.Any]:
    return {f"couchpy.couchdb.couchdb_{module}": options, "ignore_errors": True, **keywords}


def in_all_modes(*tasks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Each task in check mode, in a real run, and again."""
    modes: list[dict[str, t.Any]] = [{"check_mode": True, "diff": True}, {"diff": True}, {}]
    return [{**given, **mode} for given in tasks for mode in modes]


SECURITY = {"members": {"roles": ["shop"]}}
HASH = "-pbkdf2:sha256-{},5a1700,1".format("0a" * 32)
ORDERS = {"name": ["orders", "customers"], "security": SECURITY, "revs_limit": 100}
ADMIN = {"name": "deploy", "password": CANARY}
USERS: dict[str, t.Any] = {
    "users": [
        {"name": "ann", "password": CANARY, "roles": ["shop"], "attributes": {"email": "a@b", "token": CANARY + "1"}},
        {"name": "ben", "roles": []},
    ]
}
DOCUMENTS = {
    "database": "orders",
    "documents": [{"_id": "a", "n": 1}, {"_id": "_design/d", "views": {"v": {"map": "function (d) { emit(d.n); }"}}}],
}
SERVER = {
    "settings": {"couchpy": {"a": "b"}},
    "databases": [{"name": "archive"}],
    "users": USERS["users"],
    "documents": [{"database": "archive", "documents": [{"_id": "x"}]}],
    "indexes": [{"database": "archive", "name": "by-n", "fields": ["n"]}],
    "replications": [{"name": "copy", "source": "orders", "target": "archive", "continuous": True, "wait": True}],
}
TASKS = [
    *in_all_modes(
        task("database", ORDERS),
        task("config", {"settings": {"couchpy": {"key": "value", "secret": CANARY, "cut": "a ; b"}}}),
        task("admin", ADMIN),
        task("user", USERS),
        task("document", DOCUMENTS),
        task("document", {"database": "orders", "src": "documents.json"}),
        task("index", {"database": "orders", "name": "by-n", "ddoc": "app", "fields": ["n"]}),
        task("replication", {"name": "r", "source": "orders", "target": "customers", "continuous": True, "wait": True}),
        task("server", SERVER),
        task("cluster", {"members": ["node1@127.0.0.1"]}),
        task("database", {"name": "customers", "state": "absent"}),
    ),
    task(
        "info",
        {"gather_subset": ["server", "databases", "admins", "cluster", "session", "declaration"]},
        register="found",
    ),
    task("info", {"gather_subset": ["admins"]}, no_log=True),
    task("database", {"name": "many", "replicas": 5}),
    task("replication", {"source": "orders", "target": "once", "create_target": True, "persistent": False}),
    # Invalid options, for Ansible, for an option's check, and for the server.
    task("database", {"name": "orders", "foo": 1, "password": CANARY}),
    task("database", {"name": {"a": 1}}),
    task("database", {"name": "Orders"}),
    task("database", {"name": "orders", "state": "gone"}),
    task("database", {"name": "orders", "revs_limit": "many"}),
    task("database", {"name": "orders", "shards": 7}),
    task("database", {}),
    task("config", {"section": "a"}),
    task("config", {"settings": {"a": {"b": ["c"]}}}),
    task("admin", {"name": "deploy", "password": CANARY, "password_hash": HASH}),
    task("user", {"users": [{"name": "_x", "password": CANARY}]}),
    task("user", {"users": [{"nam": "x"}]}),
    task("document", {"database": "gone", "documents": [{"_id": "a"}]}),
    task("document", {"database": "orders", "src": "missing.json"}),
    task("document", {"database": "orders", "src": "broken.json"}),
    task(
        "document", {"database": "orders", "documents": [{"_id": "_design/x", "views": {"v": {"map": "function ("}}}]}
    ),
    task("index", {"database": "orders", "name": "x", "fields": [{"a": 1}]}),
    task("replication", {"name": "x", "source": "gone", "target": "orders"}),
    task("server", {"databases": [{"nam": "x"}]}),
    task("server", {"databases": [{"name": "a"}], "documents": [{"database": "gone", "documents": [{"_id": "a"}]}]}),
    task("cluster", {"members": ["node1@127.0.0.1", {"name": "a@b", "url": NOWHERE}], "retries": 0}),
    task("restart", {"nodes": ["gone@127.0.0.1"]}),
    task("info", {"gather_subset": ["foo"]}),
    # Servers and credentials.
    task("info", {"url": NOWHERE, "retries": 0}),
    task("info", {"url": "http://a:" + "c4n4ry%2F" + "@127.0.0.1:9/", "retries": 0}),
    task("info", {"login_password": CANARY}),
    task("info", {"login_password": "{{ omit }}"}),
    task("info", {"ca_path": "missing.pem", "url": "https://127.0.0.1:9/", "retries": 0}),
    task("info", {"login_user": "a:b"}),
    # Keywords of tasks.
    task("user", USERS, no_log=True, diff=True, check_mode=True),
    task("info", {"url": "{{ omit }}"}, environment={"COUCHDB_URL": NOWHERE}, retries=1, delay=0),
    task("info", {"login_user": None, "login_password": None}, environment={"COUCHDB_USERNAME": "admin"}),
    # Ansible makes strings of what is none.
    task("database", {"name": "orders"}, environment={"NO_PROXY": 1, "no_proxy": None, "https_proxy": True}),
    task("info", {"login_password": None}, environment={"COUCHDB_PASSWORD": 12345}),
    # What no module can get.
    task("user", {"name": "dot", "password": CANARY, "attributes": {"b": "{{ 'x'.encode() }}"}}),
    task("database", {"name": "{{ item }}"}, loop=["one", "two", "Three"]),
    task("database", {"name": "orders"}, register="found", until="found is changed", retries=2, delay=0),
    task("database", {"name": "orders"}, failed_when="true"),
    task("database", {"name": "orders"}, changed_when="true"),
    task("database", {"name": "orders", "timeout": "x"}),
    task("database", {"name": "orders"}, delegate_to="elsewhere"),
    task("database", {"name": "orders"}, vars={"couchdb_url_of_a_test": "x"}, tags=["a"]),
    task("config", {"settings": {"couchpy": {"truth": True, "number": 1.5, "empty": "", "none": None}}}),
    task(
        "document",
        {"database": "orders", "documents": [{"_id": "u", "text": "ä\u2028\U0001f600", "deep": {"a": [1, {}]}}]},
    ),
]


@contextlib.contextmanager
def started() -> Iterator[embedded.Server]:
    with embedded.server(dialect="3", admin="admin:secret") as server:
        yield server


def on(server: embedded.Server, **options: t.Any) -> dict[str, t.Any]:
    return {"url": server.url, "login_user": "admin", "login_password": "secret", **options}


def both_ways(folder: Path, tasks: list[dict[str, t.Any]], *arguments: str) -> dict[str, Ended]:
    """Run these tasks directly and by modules, at the same time, each way on a server of its own."""

    def run(way: str) -> Ended:
        plays = Plays(folder / way)
        plays.folder.mkdir()
        (plays.folder / "documents.json").write_text('[{"_id": "of-a-file", "n": 1}]')
        (plays.folder / "broken.json").write_text("{")
        inventory = plays.folder / "inventory"
        inventory.write_text("localhost\nelsewhere ansible_connection=local\n")
        named = [{"name": f"{number} {next(iter(given))}", **given} for number, given in enumerate(tasks)]
        with started() as server:
            return plays.run(
                {"module_defaults": {"group/couchpy.couchdb.couchdb": on(server)}, "tasks": named},
                *("-i", str(inventory), *arguments),
                environment={"ANSIBLE_COUCHDB_DIRECT": "1" if way == "direct" else "0"},
                timeout=1500,
            )

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(("direct", "module"), pool.map(run, ("direct", "module")), strict=True))


def test_both_ways_give_the_same_results_and_print_the_same(tmp_path: Path) -> None:
    ended = both_ways(tmp_path, TASKS, "-v")
    assert list(ended["direct"].results) == list(ended["module"].results)
    assert len(ended["direct"].results) == len(TASKS)
    for name, result in ended["direct"].results.items():
        assert settled(result) == settled(ended["module"].results[name]), name
    printed = {way: settled(end.printed).splitlines() for way, end in ended.items()}
    ignored = re.compile("|".join([*COUNTED, "replications"]))
    for direct, module in zip(printed["direct"], printed["module"], strict=True):
        assert direct == module or (ignored.search(direct) and ignored.search(module))
    for end in ended.values():
        assert "Traceback" not in end.printed
        assert "c4n4ry" not in end.printed


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    """A server for the tests that look at the process, not at results."""
    with started() as running:
        yield running


def ways(ended: Ended) -> list[str]:
    """How each task was carried out, as -vvv shows it."""
    return re.findall(r"couchpy\.couchdb\.couchdb_\w+: (direct execution|running the module, as .*)", ended.printed)


# What a task or its host has, and why it takes the module; None when it does not.
WAYS: list[tuple[dict[str, t.Any], str | None]] = [
    ({}, None),
    ({"delegate_to": "local"}, None),
    ({"delegate_to": "localhost", "vars": {"ansible_connection": "local"}}, None),
    ({"environment": {"COUCHDB_URL": NOWHERE, "no_proxy": "*"}}, None),
    ({"check_mode": True, "diff": True, "no_log": True}, None),
    ({"vars": {"couchdb_direct": "{{ 1 == 1 }}"}}, None),
    ({"vars": {"couchdb_direct": False}}, "couchdb_direct or"),
    ({"vars": {"couchdb_direct": "no"}}, "couchdb_direct or"),
    ({"async": 30, "poll": 1}, "asynchronous"),
    ({"become": True, "become_method": "ansible.builtin.su"}, "another user"),
    ({"environment": {"PYTHONPATH": "/"}}, "PYTHONPATH may have an effect"),
    ({"vars": {"ansible_python_interpreter": "/usr/bin/python3"}}, "interpreter is /usr/bin/python3"),
    ({"vars": {"ansible_python_interpreter": "auto"}}, "interpreter is not known yet"),
    ({"delegate_to": "elsewhere"}, "is ssh, not local"),
]


def test_which_tasks_are_direct(plays: Plays, server: embedded.Server) -> None:
    """A connection that says local and a delegate_to elsewhere, or another Python, take the module."""
    tasks = [task("info", on(server), name=f"{n}", **keywords) for n, (keywords, _why) in enumerate(WAYS)]
    inventory = plays.folder / "inventory"
    inventory.write_text(
        "localhost ansible_connection=local\nlocal ansible_connection=local\n"
        "elsewhere ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=9\n"
    )
    for given in tasks:
        given["ignore_unreachable"] = True
    ended = plays.run({"tasks": tasks}, "-i", str(inventory), "-vvv")
    found = ways(ended)
    assert len(found) == len(WAYS), ended.printed
    for way, (keywords, why) in zip(found, WAYS, strict=True):
        assert way == "direct execution" if why is None else why is not None and why in way, (keywords, way)


def test_all_items_of_a_loop_are_direct(plays: Plays, server: embedded.Server) -> None:
    tasks = [task("info", on(server), name="ask", loop=[1, 2, 3], delegate_to=host) for host in ("{{ omit }}", "local")]
    inventory = plays.folder / "inventory"
    inventory.write_text("localhost ansible_connection=local\nlocal ansible_connection=local\n")
    ended = plays.run({"tasks": tasks}, "-i", str(inventory), "-vvv")
    assert ways(ended) == ["direct execution"] * 6, ended.printed


def test_the_environment_switches_it_off_and_a_variable_must_be_a_boolean(
    plays: Plays, server: embedded.Server
) -> None:
    tasks = [task("info", on(server), name="off"), task("info", on(server), name="no", vars={"couchdb_direct": "x"})]
    ended = plays.run({"tasks": tasks}, "-vvv", environment={"ANSIBLE_COUCHDB_DIRECT": "0"})
    assert len(ways(ended)) == 1
    assert "ANSIBLE_COUCHDB_DIRECT is false" in ways(ended)[0]
    assert ended.results["no"]["failed"]
    assert ended.results["no"]["msg"] == "couchdb_direct: must be a boolean"


@pytest.fixture
def resting() -> Iterator[embedded.Server]:
    """A server in maintenance mode, for which a task waits in vain."""
    with embedded.server() as running:
        request = urllib.request.Request(f"{running.url}_node/_local/_config/couchdb/maintenance_mode", method="PUT")
        basic = base64.b64encode(b"admin:secret").decode()
        request.add_header("Authorization", f"Basic {basic}")
        urllib.request.urlopen(request, b'"true"').close()
        yield running


@pytest.mark.parametrize("way", [{}, {"couchdb_direct": False}], ids=["direct", "module"])
def test_a_task_that_waits_shows_what_for(plays: Plays, resting: embedded.Server, way: dict[str, t.Any]) -> None:
    waits = {**on(resting), "gather_subset": ["cluster"], "wait": True, "wait_timeout": 14}
    tasks = [
        task("info", waits, name="shown", vars=way),
        task("info", waits, name="checked", vars=way, check_mode=True),
    ]
    ended = plays.run({"tasks": tasks})
    line = re.compile(
        r"^couchpy\.couchdb\.couchdb_info \[localhost\]: waiting for .*: .* is in maintenance mode \((\d+) s\)$", re.M
    )
    seconds = [int(found) for found in line.findall(ended.printed.partition("TASK [checked]")[0])]
    assert 1 <= len(seconds) <= 3, ended.printed
    assert seconds == sorted(seconds)
    assert "waiting for" not in ended.printed.partition("TASK [checked]")[2], ended.printed
    assert "waiting for" not in json.dumps(ended.results)
    assert list(Path("/tmp").glob("couchpy-progress-*")) == []
    quiet = plays.run({"tasks": tasks[:1]}, environment={"ANSIBLE_COUCHDB_PROGRESS": "0"})
    assert "waiting for" not in quiet.printed


DOCUMENT = """
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "{name: document, type: stdout, short_description: Prints JSON., description: Prints JSON.}"

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "document"

    def v2_playbook_on_stats(self, stats):
        self._display.display('{"hosts": %d}' % len(stats.processed))
"""


@pytest.mark.parametrize("way", [{}, {"couchdb_direct": False}], ids=["direct", "module"])
def test_progress_is_not_in_the_output_of_programs_and_not_shown_with_no_log(
    plays: Plays, resting: embedded.Server, way: dict[str, t.Any]
) -> None:
    (plays.folder / "callback_plugins").mkdir()
    (plays.folder / "callback_plugins" / "document.py").write_text(DOCUMENT)
    waits = {**on(resting), "gather_subset": ["cluster"], "wait": True, "wait_timeout": 9}
    shown, hidden = [
        ended_apart(plays, task("info", waits, vars=way, no_log=no_log), ANSIBLE_STDOUT_CALLBACK="document")
        for no_log in (False, True)
    ]
    assert json.loads(shown.stdout) == json.loads(hidden.stdout) == {"hosts": 1}
    assert "[localhost]: waiting for the cluster to be in sync: " in shown.stderr
    assert "waiting for" not in hidden.stderr


def ended_apart(plays: Plays, given: dict[str, t.Any], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a task, and give its standard output and its standard error apart."""
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [given]}
    (plays.folder / "play.json").write_text(json.dumps([play]))
    command, environment = plays.command("play.json")
    return subprocess.run(
        command,
        env={**environment, **variables},
        cwd=plays.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("strategy", ["linear", "free", "host_pinned"])
def test_every_strategy_of_ansible_is_direct(plays: Plays, server: embedded.Server, strategy: str) -> None:
    hosts = [f"h{number}" for number in range(6)]
    (plays.folder / "inventory").write_text("".join(f"{host} ansible_connection=local\n" for host in hosts))
    play = {"hosts": "all:!localhost", "strategy": strategy, "tasks": [task("info", on(server), name="ask")] * 2}
    ended = plays.run(play, "-i", str(plays.folder / "inventory"), "-vvv")
    assert ways(ended) == ["direct execution"] * 12, ended.printed


def test_a_controller_without_requests_takes_the_module(plays: Plays, server: embedded.Server) -> None:
    (plays.folder / "requests.py").write_text("raise ImportError('no requests in this test')\n")
    tasks = [task("info", on(server), name="ask")]
    ended = plays.run({"tasks": tasks}, "-vvv", environment={"PYTHONPATH": str(plays.folder)})
    assert "lacks requests" in ways(ended)[0]
    assert "requests" in ended.results["ask"]["msg"]


STATE = '''
import json, os

def state_of_the_worker(value, path):
    """Write how many descriptors this process has open, and how many kB it holds, and give the value back."""
    held = len(os.listdir("/proc/self/fd"))
    connections = [line.split() for line in open("/proc/self/net/tcp")]
    inodes = {fields[9] for fields in connections[1:] if fields[3] == "01"}
    ours = {os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
    open_ones = len([inode for inode in inodes if f"socket:[{inode}]" in ours])
    memory = int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
    with open(path, "a") as out:
        out.write(json.dumps([os.getpid(), held, memory, len(os.environ), os.getcwd(), open_ones]) + "\\n")
    return value

class FilterModule:
    def filters(self):
        return {"state_of_the_worker": state_of_the_worker}
'''


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc shows what a process has open")
def test_a_worker_that_runs_500_tasks_holds_nothing(plays: Plays, server: embedded.Server) -> None:
    (plays.folder / "filter_plugins").mkdir()
    (plays.folder / "filter_plugins" / "state.py").write_text(STATE)
    states = plays.folder / "states"
    names = "{{ ['many', 'more', 'most'] | state_of_the_worker('" + str(states) + "') }}"
    # Several connections for each item, as the limits of the databases are read in parallel.
    given = task("database", on(server, name=names, revs_limit=1000), loop="{{ range(500) | list }}", name="many")
    given["environment"] = {"COUCHDB_USERNAME": "nobody"}
    given["loop_control"] = {"label": "x"}
    ended = plays.run({"tasks": [given]}, timeout=900)
    assert ended.status == 0, ended.printed[-3000:]
    lines = [json.loads(line) for line in states.read_text().splitlines()]
    assert len(lines) == 500
    assert len({pid for pid, *_rest in lines}) == 1
    assert {connections for *_rest, connections in lines} == {0}
    seen = lines[len(lines) // 10 :]
    assert len({tuple(rest) for _pid, _held, _memory, *rest in seen}) == 1
    assert seen[-1][1] <= seen[0][1], (seen[0], seen[-1])
    # Ansible itself keeps the result of each item.
    assert seen[-1][2] - seen[0][2] < 30_000, (seen[0], seen[-1])


@pytest.fixture
def hanging() -> Iterator[str]:
    """The URL of a server that accepts connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_timeout_ends_the_task_as_it_ends_a_module(plays: Plays, hanging: str) -> None:
    tasks = [
        task("info", {"url": hanging, "timeout": 600}, name=way, timeout=3, vars={"couchdb_direct": way == "direct"})
        for way in ("direct", "module")
    ]
    began = time.monotonic()
    ended = plays.run({"tasks": tasks}, timeout=120)
    assert time.monotonic() - began < 100
    for result in ended.results.values():
        assert result["failed"]
        assert "timedout" in result
    assert ended.results["direct"]["msg"] == ended.results["module"]["msg"]


def test_a_timeout_does_not_wait_for_requests_in_parallel(plays: Plays) -> None:
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HangsInWrites)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    options = {"url": f"http://127.0.0.1:{serving.server_port}/", "name": ["one", "two", "three"], "timeout": 600}
    began = time.monotonic()
    ended = plays.run({"tasks": [task("database", options, name="hang", timeout=3)]}, timeout=200)
    seconds = time.monotonic() - began
    serving.shutdown()
    serving.server_close()
    assert "timedout" in ended.results["hang"]
    assert seconds < HangsInWrites.SECONDS - 10


class HangsInWrites(http.server.BaseHTTPRequestHandler):
    """A CouchDB without databases, which never answers a request that writes."""

    SECONDS = 120
    asked = threading.Event()

    def do_GET(self) -> None:
        welcome = {"couchdb": "Welcome", "version": "3.5.0", "all_nodes": ["a@b"], "cluster_nodes": ["a@b"]}
        body = json.dumps([] if self.path.startswith("/_all_dbs") else welcome).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        names = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["keys"]
        body = json.dumps([{"key": name, "error": "not_found"} for name in names]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.asked.set()
        time.sleep(self.SECONDS)

    def log_message(self, *_arguments: t.Any) -> None:
        """Log nothing."""


def test_ctrl_c_ends_the_run_and_shows_what_was_sent(plays: Plays) -> None:
    HangsInWrites.asked.clear()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HangsInWrites)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{serving.server_port}/"
    tasks = [task("database", {"url": url, "name": ["one", "two"], "timeout": 100})]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (plays.folder / "play.json").write_text(json.dumps([play]))
    command, environment = plays.command("play.json")
    with subprocess.Popen(
        command,
        env=environment,
        cwd=plays.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        assert HangsInWrites.asked.wait(120)
        time.sleep(1)
        os.kill(running.pid, signal.SIGINT)
        printed = running.communicate(timeout=60)[0]
    serving.shutdown()
    serving.server_close()
    assert running.returncode != 0
    assert "Traceback" not in printed, printed
    assert (
        "couchdb_database [localhost]: interrupted, 2 changes sent: create database one, create database two" in printed
    )
