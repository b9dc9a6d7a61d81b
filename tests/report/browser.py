# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds or installs what looks at the report as its readers do: Chromium, and axe-core for readers with a screen reader."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server")]

import run as server

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Missing(Exception):
    """Why there is no browser."""


def chromium() -> str:
    """The path of Chromium. As root on Debian it is installed, unless COUCHPY_NO_APT is set. Raises Missing."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found:
        return found
    if os.environ.get("COUCHPY_NO_APT") or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing("no Chromium on PATH; install it, for example Debian's package chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    for attempt in ([], ["apt-get", "update"]):
        if attempt:
            subprocess.run(attempt, env=environment, stdout=subprocess.DEVNULL, check=False)
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            return next(filter(None, map(shutil.which, PROGRAMS)))
    raise Missing("apt-get could not install chromium")


def axe() -> str:
    """The source of axe-core, installed by npm once."""
    root = Path(os.environ.get("COUCHPY_CACHE") or ROOT / ".cache").resolve()
    key = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    target = root / f"report-{key}"
    if not target.exists():
        root.mkdir(parents=True, exist_ok=True)
        node = server.find_node()
        scratch = Path(tempfile.mkdtemp(prefix="report-", dir=root))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, scratch / name)
        command = [*server.find_npm(node), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run(command, cwd=scratch, env=environment, stdout=subprocess.DEVNULL, check=True)
        if target.exists():
            shutil.rmtree(scratch)
        else:
            scratch.rename(target)
    return (target / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
