# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every module on several Pythons, each with the oldest requests promised there: ``targets.py VERSION...``.

Each Python is a host of one playbook, tests/targets/every_module.yml, which runs on an embedded server. The libraries are
installed beside the Python, not into it, and found by PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tree

sys.path.insert(0, str(tree.ROOT / "tests/server"))

import embedded
import pythons

PLAYBOOK = "tests/targets/every_module.yml"


def libraries(version: pythons.Version, requests: str) -> Path:
    """Install the oldest requests for a Python into a folder of its own; return the folder."""
    folder = tree.CACHE / "targets" / f"{pythons.text(version)}-{requests}"
    if not folder.exists():
        unfinished = folder.with_suffix(".new")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        wheels = ["--target", str(unfinished), "--only-binary", ":all:", "--python-version", pythons.text(version)]
        subprocess.run([*pip, *wheels, f"requests=={requests}"], check=True)
        unfinished.rename(folder)
    return folder


def host(version: pythons.Version) -> dict[str, str]:
    """Return the variables of the host of a Python."""
    requests = pythons.TARGETS[version]
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(pythons.find(version)),
        "libraries": str(libraries(version, requests)),
        "expected": f"{version[0]} {version[1]} {requests}",
        "prefix": f"targets-{version[0]}-{version[1]}",
    }


def main() -> int:
    """Run the playbook; return its exit status."""
    versions = [(int(major), int(minor)) for major, minor in (text.split(".") for text in sys.argv[1:])]
    hosts = {f"python{pythons.text(version)}": host(version) for version in versions}
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tree.link()), "ANSIBLE_PIPELINING": "true"}
    with tempfile.TemporaryDirectory() as folder, embedded.server(dialect="3", admin="admin:secret") as server:
        inventory = Path(folder, "inventory.json")
        inventory.touch(mode=0o600)
        login = {"couchdb_url": server.url, "couchdb_username": server.username, "couchdb_password": server.password}
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": login}}))
        command = ["ansible-playbook", "--inventory", str(inventory), "--forks", str(len(hosts)), PLAYBOOK]
        return subprocess.run(command, cwd=tree.ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
