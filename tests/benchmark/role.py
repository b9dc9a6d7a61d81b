# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the role on an unchanged server, against loops of ansible.builtin.uri and a play of pings.

The declaration: 100 settings, 50 databases with security, 20 users with update_password on_create, 10 design documents and 5
replications. The plays take turns, on one embedded server; a play of pings has as many of them as the role has tasks that
run. Prints the medians of whole plays, from the start of ansible-playbook to its end, and the ratios: on this host, and
over SSH, as hosts of a fleet are reached, where OpenSSH is installed.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "tools")]

import embedded
import tree

ROUNDS = 5
SECURITY = {"admins": {"names": [], "roles": ["ops"]}, "members": {"names": [], "roles": ["shop"]}}


def declaration() -> dict[str, Any]:
    """Return what is declared, as variables of the role."""
    databases = [f"couchpy_bench_{number}" for number in range(50)]
    design = {"_id": "_design/app", "views": {"all": {"map": "function (doc) { emit(doc._id, null); }"}}}
    users = [
        {"name": f"couchpy_bench_{number}", "password": f"password {number}", "roles": ["shop"]} for number in range(20)
    ]
    return {
        "couchdb_settings": {
            f"couchpy_bench_{number}": {f"key{key}": f"value {key}" for key in range(10)} for number in range(10)
        },
        "couchdb_databases": [{"name": name, "security": SECURITY} for name in databases],
        "couchdb_users": [{**user, "update_password": "on_create"} for user in users],
        "couchdb_documents": [{"database": name, "documents": [design]} for name in databases[:10]],
        "couchdb_replications": [
            {"name": f"couchpy_bench_{number}", "source": databases[number], "target": databases[-1 - number]}
            for number in range(5)
        ],
    }


def pings(number: int, folder: Path) -> Path:
    """Write a playbook of so many pings, and return its path."""
    tasks = [{"name": f"Ping {count}", "ansible.builtin.ping": {}} for count in range(number)]
    play = {"name": "Pings", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    path = folder / "pings.json"
    path.write_text(json.dumps([play]))
    return path


def play(playbook: Path, variables: Path) -> tuple[float, int]:
    """Run a playbook; return the seconds it took, and how many of its tasks ran. Ends the benchmark if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        durations = Path(folder) / "durations"
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(tree.link()),
            "DURATIONS": str(durations),
            "ANSIBLE_CALLBACKS_ENABLED": "durations",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        }
        command = ["ansible-playbook", str(playbook), f"--extra-vars=@{variables}"]
        start = time.perf_counter()
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - start
        if run.returncode:
            sys.exit(run.stdout)
        return seconds, len(durations.read_text().splitlines())


@contextlib.contextmanager
def over_ssh(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Give the variables with which Ansible reaches this host over SSH, by a daemon of its own; None without OpenSSH."""
    daemon = shutil.which("sshd", path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")
    if not daemon or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        yield None
        return
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        # The daemon of root wants it; otherwise a boot makes it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with subprocess.Popen(
        [daemon, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": port,
                "ansible_user": getpass.getuser(),
                "ansible_ssh_private_key_file": str(folder / "user"),
                "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
                "ansible_python_interpreter": sys.executable,
            }
        finally:
            process.terminate()


def measure(where: str, variables: Path, folder: Path) -> None:
    """Let the plays take turns on a server that is as declared, and print what they took."""
    times: dict[str, list[float]] = {"role": [], "ping": []}
    for _round in range(ROUNDS):
        seconds, tasks = play(HERE / "role.yml", variables)
        times["role"].append(seconds)
        times["ping"].append(play(pings(tasks, folder), variables)[0])
    uri, _tasks = play(HERE / "role_uri.yml", variables)
    role, ping = statistics.median(times["role"]), statistics.median(times["ping"])
    print(f"\nOn a server that is as declared, {where}")
    print(f"  the role, {tasks:2} tasks that run  {role:8.2f}s")
    print(f"  a play of {tasks:2} pings          {ping:8.2f}s   role/ping {role / ping:6.2f}x")
    print(f"  the same by loops of uri    {uri:8.2f}s   uri/role  {uri / role:6.1f}x", flush=True)


def main() -> None:
    """Measure and print."""
    print("Measuring the role; the part with ansible.builtin.uri takes some minutes ...", flush=True)
    with tempfile.TemporaryDirectory() as scratch, embedded.server(dialect="3", admin="admin:secret") as server:
        folder = Path(scratch)
        bench = {"bench_url": server.url, "bench_username": server.username, "bench_password": server.password}
        bench.update((f"bench_{name}", value) for name, value in declaration().items())
        variables = folder / "variables.json"
        variables.write_text(json.dumps(bench))
        first, _tasks = play(HERE / "role.yml", variables)
        print(f"\nThe role on an empty server   {first:8.2f}s", flush=True)
        measure("this host", variables, folder)
        with over_ssh(folder) as reached:
            if reached is None:
                print("\nNot measured over SSH: OpenSSH is not installed")
                return
            variables.write_text(json.dumps({**bench, **reached}))
            measure("over SSH", variables, folder)


if __name__ == "__main__":
    main()
