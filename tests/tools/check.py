# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every session that noxfile.py makes a default, two at a time, and prints a summary.

A step's output goes to .cache/logs; of a step that failed, the end is shown as well.
Returns 1 if any failed, after all have run.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import tree

NOX = str(Path(sys.executable).with_name("nox"))
LOGS = tree.CACHE / "logs"
WORKERS = 2
SHOWN_LINES = 60

# How scenarios.py says that a molecule scenario can't run on this machine.
SKIPPED = "SKIPPED:"

# The longest first, so that none of them starts last.
LONG = [
    "molecule(cluster)",
    "integration(2.19-3)",
    "molecule(package)",
    "plays",
    "integration(2.19-1)",
    "server",
    "integration",
    "trust",
    "client",
    "sanity",
    "molecule",
    "unit",
    "ansible-lint",
    "build-import-check",
]

# nox's "lint" only starts other sessions of the list.
LEFT_OUT = {"lint"}


@dataclasses.dataclass
class Result:
    """What became of a step."""

    step: str
    passed: bool
    seconds: float
    log: Path


def steps() -> list[str]:
    """Return the names of the sessions to run, the longest first."""
    listing = subprocess.run([NOX, "--list", "--json"], cwd=tree.ROOT, check=True, capture_output=True, text=True)
    names = [session["session"] for session in json.loads(listing.stdout)]
    return sorted((name for name in names if name not in LEFT_OUT), key=place)


def place(step: str) -> tuple[int, str]:
    """Return where a step belongs in the order; those of one name by ansible-core."""
    name = step if step in LONG else step.split("(")[0]
    return (LONG.index(name) if name in LONG else len(LONG)), step


def run(step: str) -> Result:
    """Run one step."""
    log = LOGS / (re.sub(r"[^\w.]+", "-", step).strip("-") + ".log")
    print(f"  start   {step}", flush=True)
    start = time.monotonic()
    with log.open("w") as stream:
        done = subprocess.run(
            [NOX, "--session", step],
            cwd=tree.ROOT,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    result = Result(step, done.returncode == 0, time.monotonic() - start, log)
    print(f"  {'passed' if result.passed else 'FAILED'}  {step} ({result.seconds:.0f} s)", flush=True)
    return result


def skipped(log: Path) -> list[str]:
    """Return what a step said that it had to leave out."""
    return [line for line in log.read_text(errors="replace").splitlines() if line.startswith(SKIPPED)]


def main() -> int:
    """Run the steps and print what became of them."""
    LOGS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    wanted = steps()
    print(f"{len(wanted)} steps, {WORKERS} at a time; their output goes to {LOGS.relative_to(tree.ROOT)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        results = list(workers.map(run, wanted))
    failed = [result for result in results if not result.passed]
    for result in failed:
        print(f"\n----- the end of {result.log.relative_to(tree.ROOT)}")
        print(*result.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:], sep="\n")
    print(f"\nSummary, after {time.monotonic() - start:.0f} s:")
    for result in results:
        print(f"  {'passed' if result.passed else 'FAILED'} {result.seconds:6.0f} s  {result.step}")
        for line in skipped(result.log):
            print(f"                   {line}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
