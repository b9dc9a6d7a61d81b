# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures a fleet: many hosts with a local connection, each converging a server that is as declared already.

One embedded server serves ten hosts. couchdb_database with 50 names, couchdb_server, the role and the playbook check run with
the modules carried out in Ansible's worker processes, where that is possible, and with modules only (``couchdb_direct: false``), against
one task of ansible.builtin.ping. Also with 50 ms between the hosts and their servers, and on servers with 10,000
databases. Prints seconds and CPU seconds per host, and ratios of the same run.

``fleet.py --hosts 10 --rounds 1`` is a quick look.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import proxy
import role
import tree

HOSTS = 100
HOSTS_PER_SERVER = 10
ROUNDS = 3
FORKS = 10
DISTANCE = 0.05
"""Seconds by which each answer of a distant server is delayed."""
MANY = 10_000

DATABASE = {
    "name": "Databases",
    "couchpy.couchdb.couchdb_database": {"name": "{{ couchdb_databases | map(attribute='name') | list }}"},
}
SERVER = {
    "name": "Server",
    "couchpy.couchdb.couchdb_server": {
        part: f"{{{{ couchdb_{part} }}}}" for part in ("settings", "databases", "users", "documents", "replications")
    },
}
LOGIN = {"url": "{{ couchdb_url }}", "login_user": "admin", "login_password": "{{ couchdb_admin_password }}"}
CHECK = "couchpy.couchdb.check"
ON_SERVERS = "Compare"
"""How the names of those tasks of check begin that ask a server, rather than the controller."""


@dataclass(frozen=True)
class Cost:
    """What a play took: seconds, CPU seconds, how many of its tasks ran on each host, and how many of them asked a server."""

    seconds: float
    cpu: float
    tasks: int
    asking: int


@dataclass(frozen=True)
class Fleet:
    """A fleet: its inventory, and its hosts of which each is the first on its server."""

    inventory: Path
    hosts: int
    first: list[str]
    folder: Path

    def run(self, playbook: Path | str, *, direct: bool, limit: list[str] | None = None) -> Cost:
        """Run a playbook on the fleet and return what it took. Ends the benchmark if it fails."""
        with tempfile.TemporaryDirectory() as scratch:
            durations = Path(scratch) / "durations"
            environment = {
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
                "ANSIBLE_FORKS": str(FORKS),
                "ANSIBLE_CALLBACKS_ENABLED": "durations",
                "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
                "DURATIONS": str(durations),
            }
            command = ["ansible-playbook", "--inventory", str(self.inventory), str(playbook)]
            command += ["--extra-vars", json.dumps({"couchdb_direct": direct})]
            command += ["--limit", ",".join(limit)] if limit else []
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            if run.returncode:
                sys.exit(run.stdout)
            ran = [json.loads(line)["task"] for line in durations.read_text().splitlines()]
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        hosts = len(limit) if limit else self.hosts
        return Cost(seconds, cpu, len(ran) // hosts, sum(task.startswith(ON_SERVERS) for task in ran) // hosts)


def playbook(folder: Path, name: str, **play: Any) -> Path:
    """Write a playbook with one play for all hosts, and return its path."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps([{"name": name, "hosts": "all", "gather_facts": False, **play}]))
    return path


def of_task(folder: Path, name: str, task: dict[str, Any]) -> Path:
    """Write a playbook with one task of this collection."""
    return playbook(
        folder, name, tasks=[task], module_defaults={"group/couchpy.couchdb.couchdb": LOGIN}, any_errors_fatal=True
    )


def of_role(folder: Path) -> Path:
    """Write a playbook with the role."""
    return playbook(folder, "role", roles=[{"role": "couchpy.couchdb.server"}])


def of_ping(folder: Path) -> Path:
    """Write a playbook with one ping."""
    return playbook(folder, "ping", tasks=[{"name": "Ping", "ansible.builtin.ping": {}}])


@contextlib.contextmanager
def fleet(hosts: int, *, distance: float = 0, databases: int = 0) -> Iterator[Fleet]:
    """Start the servers of a fleet, and write its inventory."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables: dict[str, dict[str, Any]] = {}
        for number in range(hosts):
            if number % HOSTS_PER_SERVER == 0:
                server = stack.enter_context(
                    embedded.server(dialect="3", admin="admin:secret", pretend_databases=databases)
                )
                url = server.url
                if distance:
                    between = stack.enter_context(proxy.Proxy(url))
                    between.distance = distance
                    url = between.url
            variables[f"host{number:03}"] = {"couchdb_url": url}
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "couchdb_install": "none",
            "couchdb_admin_password": server.password,
            **role.declaration(),
        }
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps({"couchdb": {"hosts": variables, "vars": common}}))
        yield Fleet(inventory, hosts, list(variables)[::HOSTS_PER_SERVER], folder)


def measure(found: Fleet, what: str, path: Path | str, rounds: int) -> None:
    """Let direct execution, modules and pings take turns, and print what they took per host."""
    costs: dict[str, list[Cost]] = {"direct": [], "module": [], "ping": []}
    for _round in range(rounds):
        costs["direct"].append(found.run(path, direct=True))
        costs["module"].append(found.run(path, direct=False))
        costs["ping"].append(found.run(of_ping(found.folder), direct=True))
    seconds = {way: statistics.median(cost.seconds for cost in those) / found.hosts for way, those in costs.items()}
    cpu = {way: statistics.median(cost.cpu for cost in those) / found.hosts for way, those in costs.items()}
    last = costs["direct"][-1]
    asking = f", of which {last.asking} asks the server" if path == CHECK else ""
    print(f"  {what}: {last.tasks} tasks per host{asking}")
    for way in costs:
        print(
            f"    {way:7}{seconds[way]:8.3f} s{cpu[way]:8.3f} CPU s   "
            f"{seconds[way] / seconds['ping']:6.2f} pings{cpu['module'] / cpu[way]:8.1f}x less CPU than by module"
        )
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    for where, more in (
        ("", {}),
        (f", {DISTANCE * 1000:.0f} ms away", {"distance": DISTANCE}),
        (f", with {MANY} more databases", {"databases": MANY}),
    ):
        with fleet(options.hosts, **more) as found:
            print(f"\n{options.hosts} hosts on servers that are as declared{where}", flush=True)
            plays = {
                "couchdb_database with 50 names": of_task(found.folder, "databases", DATABASE),
                "couchdb_server": of_task(found.folder, "server", SERVER),
                "the role": of_role(found.folder),
                "the playbook check": CHECK,
            }
            found.run(plays["the role"], direct=False, limit=found.first)
            for what, path in plays.items():
                measure(found, what, path, options.rounds)


if __name__ == "__main__":
    main()
