# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every session that noxfile.py makes a default, two at a time, and prints a summary.

A step's output goes to .cache/logs; of a step that failed, the end is shown as well.
Returns 1 if any failed, after all have run. With ``--quick`` it runs those that take seconds, for use before each
commit. With ``--list`` it prints the names of all, as JSON.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pythons
import tree

NOX = str(Path(sys.executable).with_name("nox"))
LOGS = tree.CACHE / "logs"
READY = tree.CACHE / "ready"
WORKERS = 2
SHOWN_LINES = 60

# How scenarios.py says that a molecule scenario can't run on this machine.
SKIPPED = "SKIPPED:"

# How long a step took when it last passed: the longest starts first, so that none of them is alone at the end.
SECONDS = LOGS / "seconds.json"

# The longest, where none has passed yet.
LONG = [
    "molecule",
    "plays",
    "ways",
    "integration",
    "role",
    "server",
    "trust",
    "client",
    "sanity",
    "unit",
    "ansible-lint",
]

# What the steps install depends on these; while they are the same, a step that has passed installs nothing again.
INSTALLED_BY = [
    "noxfile.py",
    "antsibull-nox.toml",
    "requirements.txt",
    "tests/tools/constraints.txt",
    "tests/tools/requirements.txt",
    "tests/tools/pythons.py",
]

# What --quick runs; of the unit tests, those on the newest ansible-core.
QUICK = {"unit", "ruff", "mypy", "yamllint", "license-check", "extra-checks", "changelog"}

# nox's "lint" only starts other sessions of the list.
LEFT_OUT = {"lint"}


@dataclasses.dataclass
class Result:
    """What became of a step."""

    step: str
    passed: bool
    seconds: float
    cpu: float
    """The CPU seconds of its processes: a step that mostly waits has fewer of them than seconds."""
    log: Path


def steps(seconds: dict[str, float], *, quick: bool = False) -> list[str]:
    """Return the names of the sessions to run, the longest first."""
    listing = subprocess.run([NOX, "--list", "--json"], cwd=tree.ROOT, check=True, capture_output=True, text=True)
    names = [session["session"] for session in json.loads(listing.stdout)]

    def place(step: str) -> tuple[float, int, str]:
        kind = step.split("(")[0]
        return -seconds.get(step, 0.0), (LONG.index(kind) if kind in LONG else len(LONG)), step

    if quick:
        newest = next(name for name in names if name.startswith("unit("))
        names = [name for name in names if name.split("(")[0] in QUICK and (name == newest or "(" not in name)]
    return sorted((name for name in names if name not in LEFT_OUT), key=place)


def seconds_before() -> dict[str, float]:
    """Return how long each step took when it last passed."""
    try:
        found: dict[str, float] = json.loads(SECONDS.read_text())
    except (OSError, ValueError):
        return {}
    return found


def installed() -> str:
    """Return a string that changes with what the steps install."""
    content = [(tree.ROOT / name).read_bytes() for name in INSTALLED_BY]
    return hashlib.sha256(b"\0".join([sys.version.encode(), *content])).hexdigest()


def name_of(step: str) -> str:
    """Return a step's name as a file has it."""
    return re.sub(r"[^\w.]+", "-", step).strip("-")


def run(step: str) -> Result:
    """Run one step."""
    log = LOGS / f"{name_of(step)}.log"
    ready = READY / name_of(step)
    reused = ready.exists() and ready.read_text() == installed()
    print(f"  start   {step}", flush=True)
    start = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [NOX, "--session", step, *(["--no-install"] if reused else [])],
            cwd=tree.ROOT,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    result = Result(step, process.returncode == 0, time.monotonic() - start, cpu, log)
    if result.passed:
        ready.write_text(installed())
    print(
        f"  {'passed' if result.passed else 'FAILED'}  {step} ({result.seconds:.0f} s, {result.cpu:.0f} CPU s)",
        flush=True,
    )
    return result


def skipped(log: Path) -> list[str]:
    """Return what a step said that it had to leave out."""
    return [line for line in log.read_text(errors="replace").splitlines() if line.startswith(SKIPPED)]


def main() -> int:
    """Run the steps and print what became of them."""
    for folder in (LOGS, READY):
        folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    seconds = seconds_before()
    wanted = steps(seconds, quick="--quick" in sys.argv)
    if "--list" in sys.argv:
        print(json.dumps(wanted))
        return 0
    print(f"{len(wanted)} steps, {WORKERS} at a time; their output goes to {LOGS.relative_to(tree.ROOT)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        results = list(workers.map(run, wanted))
    SECONDS.write_text(json.dumps({**seconds, **{result.step: result.seconds for result in results if result.passed}}))
    failed = [result for result in results if not result.passed]
    for result in failed:
        print(f"\n----- the end of {result.log.relative_to(tree.ROOT)}")
        print(*result.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:], sep="\n")
    cpu = sum(result.cpu for result in results)
    print(f"\nSummary, after {time.monotonic() - start:.0f} s, with {cpu:.0f} CPU seconds:")
    for result in results:
        print(
            f"  {'passed' if result.passed else 'FAILED'} {result.seconds:6.0f} s {result.cpu:6.0f} CPU s  {result.step}"
        )
        for line in skipped(result.log):
            print(f"                   {line}")
    for note in pythons.notes():
        print(f"  left out: {note}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
