# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the Pythons of this machine, and says which ansible-core runs on which.

A Python is found if it is the one that runs this, if a ``python3.N`` on PATH starts, or if pyenv has installed it.
Run as a script: shows the matrix, and what this machine leaves out.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

Version = tuple[int, int]

# Each ansible-core that is tested, with the oldest and the newest Python of its controller.
CORES: dict[str, tuple[Version, Version]] = {
    "2.18": ((3, 11), (3, 13)),
    "2.19": ((3, 11), (3, 13)),
    "2.20": ((3, 12), (3, 14)),
    "2.21": ((3, 12), (3, 14)),
    "2.22": ((3, 13), (3, 15)),
}

# The ansible-core of which pip finds release candidates alone.
CANDIDATES = {"2.22"}

# The Pythons that run modules, each with the oldest requests that works there. requirements.txt says the same.
TARGETS: dict[Version, str] = {
    (3, 8): "2.20.0",
    (3, 9): "2.20.0",
    (3, 10): "2.20.0",
    (3, 11): "2.20.0",
    (3, 12): "2.25.1",
    (3, 13): "2.25.1",
    (3, 14): "2.25.1",
}

THIS: Version = sys.version_info[:2]


@functools.cache
def find(version: Version) -> str | None:
    """Return the path of a Python of this version that starts, or None if this machine has none."""
    if version == THIS:
        return sys.executable
    return next(filter(starts, candidates(f"python{version[0]}.{version[1]}")), None)


def candidates(name: str) -> Iterator[str]:
    """Give the paths that a Python of this name may have.

    Version managers put scripts of these names on PATH, which start nothing unless a release is selected. Beside
    pyenv's are the releases themselves.
    """
    roots = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")]
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        if (folder.parent / "versions").is_dir() and folder.name == "shims":
            roots.append(folder.parent)
        else:
            yield str(folder / name)
    for root in roots:
        yield from map(str, sorted(root.glob(f"versions/*/bin/{name}")))


def starts(path: str) -> bool:
    """Return whether there is a Python at a path, and whether it starts and has TLS, which pip needs."""
    if not os.access(path, os.X_OK):
        return False
    return subprocess.run([path, "-I", "-c", "import ssl"], check=False, capture_output=True).returncode == 0


def between(low: Version, high: Version) -> Iterator[Version]:
    """Give the versions from the newest to the oldest."""
    return ((3, minor) for minor in range(high[1], low[1] - 1, -1))


@functools.cache
def controllers() -> dict[str, str]:
    """Return the Python that each ansible-core is tested on: the newest of this machine that it supports.

    A machine whose Python is newer than all that are known tests the newest ansible-core on it.
    """
    found = {}
    for core, (low, high) in CORES.items():
        path = next(filter(None, map(find, between(low, high))), None)
        if path:
            found[core] = path
    newest = list(CORES)[-1]
    if not found and CORES[newest][1] < THIS:
        found[newest] = sys.executable
    return found


def newest() -> str:
    """Return the newest ansible-core that this machine can test."""
    return max(controllers(), key=lambda core: int(core.split(".")[1]))


def targets() -> dict[Version, str]:
    """Return the Pythons of this machine that modules can run on."""
    found = {version: find(version) for version in TARGETS}
    return {version: path for version, path in found.items() if path}


def runs_modules(core: str, version: Version) -> bool:
    """Return whether an ansible-core runs modules on a Python, as far as that is known."""
    oldest = (3, 8) if core in ("2.18", "2.19") else (3, 9)
    return oldest <= version <= CORES[core][1]


def notes() -> list[str]:
    """Say what this machine leaves out, and what it tests beyond what is known."""
    lines = []
    for core, (low, high) in CORES.items():
        if core not in controllers():
            lines.append(f"ansible-core {core} is not tested: no Python from {text(low)} to {text(high)} was found")
    if max(high for _low, high in CORES.values()) < THIS:
        lines.append(f"Python {text(THIS)} is newer than any that ansible-core {list(CORES)[-1]} is known to support")
    missing = [text(version) for version in TARGETS if not find(version)]
    if missing:
        lines.append(f"modules are not run on Python {', '.join(missing)}: not found")
    return lines


def text(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def core_requirement(core: str) -> str:
    """Return what pip installs for an ansible-core: its newest release, or release candidate while there is none."""
    lowest = f">={core}.0rc1," if core in CANDIDATES else ""
    return f"ansible-core{lowest}=={core}.*"


if __name__ == "__main__":
    for core, path in controllers().items():
        print(f"ansible-core {core} runs on {path}")
    for version, path in targets().items():
        print(f"modules run on {path} with requests {TARGETS[version]}")
    print(*notes(), sep="\n")
