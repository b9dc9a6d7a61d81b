# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the collection's artifact, checks what is in it, installs it and reads its documentation.

The artifact stays in .cache/build; its path is the last line printed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import tree

FOLDER = tree.CACHE / "build"

# What a user of the collection needs. Anything else in the artifact belongs into galaxy.yml's build_ignore.
WANTED = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "COPYING",
    "FILES.json",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "REUSE.toml",
    "SECURITY.md",
    "changelogs",
    "docs",
    "examples",
    "meta",
    "plugins",
    "requirements.txt",
    "roles",
}


def build() -> Path:
    """Build the artifact and return its path."""
    collection = tree.copy("build")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(FOLDER)]
    subprocess.run(command, cwd=collection, check=True)
    (artifact,) = FOLDER.glob("*.tar.gz")
    return artifact


def unwanted(names: list[str]) -> list[str]:
    """Return the files of an artifact that don't belong there: caches, and what no user needs."""
    return [
        name
        for name in names
        if Path(name).parts[0] not in WANTED
        or any(part.startswith(".") or part == "__pycache__" for part in Path(name).parts)
    ]


def modules(names: list[str]) -> set[str]:
    """Return the full names of the modules among the files of an artifact."""
    paths = [Path(name) for name in names]
    return {f"couchpy.couchdb.{path.stem}" for path in paths if path.match("plugins/modules/*.py")}


def undocumented(artifact: Path, wanted: set[str]) -> set[str]:
    """Install the artifact into an empty folder; return the modules whose documentation isn't found there."""
    place = FOLDER / "installed"
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", str(place), str(artifact)]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(place)}
    subprocess.run(install, env=environment, check=True)
    read = ["ansible-doc", "--type", "module", "--json", *sorted(wanted)]
    answer = subprocess.run(read, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout)
    return {name for name in wanted if not found.get(name, {}).get("doc", {}).get("short_description")}


def main() -> int:
    """Build and check; return 1 if something is wrong with the artifact."""
    artifact = build()
    with tarfile.open(artifact) as archive:
        names = [member.name for member in archive if member.isfile()]
    problems = [f"doesn't belong into the artifact: {name}" for name in unwanted(names)]
    problems += [f"missing from the artifact: {name}" for name in sorted({"README.md", "CHANGELOG.md"} - set(names))]
    problems += [f"no documentation: {name}" for name in sorted(undocumented(artifact, modules(names)))]
    for problem in problems:
        print(problem)
    print(f"{len(names)} files, {len(modules(names))} modules, {artifact.stat().st_size // 1024} KiB")
    print(artifact)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
