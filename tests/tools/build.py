# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the collection's artifact, checks what is in it, installs it and reads its documentation.

It also lets ansible-builder prepare an execution environment with it; making the image would need a container engine.

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
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "COPYING",
    "FILES.json",
    "LICENSES",
    "MAINTAINERS.md",
    "MANIFEST.json",
    "README.md",
    "REUSE.toml",
    "SECURITY.md",
    "changelogs",
    "docs",
    "examples",
    "meta",
    "playbooks",
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


def environment_problems(artifact: Path) -> list[str]:
    """Return what is wrong with an execution environment that holds the artifact: its Containerfile, its Python packages."""
    folder = FOLDER / "environment"
    folder.mkdir()
    collections = {"collections": [{"name": str(artifact), "type": "file"}]}
    base = {"base_image": {"name": "quay.io/fedora/fedora:latest"}}
    pip = {f"ansible_{name}": {"package_pip": f"ansible-{name}"} for name in ("core", "runner")}
    definition = folder / "execution-environment.yml"
    definition.write_text(json.dumps({"version": 3, "images": base, "dependencies": {"galaxy": collections, **pip}}))
    context, found = folder / "context", folder / "requirements.txt"
    create = ["ansible-builder", "create", "--file", str(definition), "--context", str(context)]
    subprocess.run(create, check=True)
    subprocess.run(["ansible-builder", "introspect", str(FOLDER / "installed"), "--write-pip", str(found)], check=True)
    steps = (context / "Containerfile").read_text()
    problems = []
    if "ansible-galaxy collection install" not in steps or "introspect" not in steps:
        problems.append("the Containerfile does not install the collection, or not what it needs")
    if str(artifact) not in (context / "_build/requirements.yml").read_text():
        problems.append("the execution environment is not made with the artifact")
    if "requests" not in found.read_text():
        problems.append("ansible-builder does not find that the collection needs requests")
    return problems


def main() -> int:
    """Build and check; return 1 if something is wrong with the artifact."""
    artifact = build()
    with tarfile.open(artifact) as archive:
        names = [member.name for member in archive if member.isfile()]
    problems = [f"doesn't belong into the artifact: {name}" for name in unwanted(names)]
    problems += [f"missing from the artifact: {name}" for name in sorted({"README.md", "CHANGELOG.md"} - set(names))]
    problems += [f"no documentation: {name}" for name in sorted(undocumented(artifact, modules(names)))]
    problems += environment_problems(artifact)
    for problem in problems:
        print(problem)
    print(f"{len(names)} files, {len(modules(names))} modules, {artifact.stat().st_size // 1024} KiB")
    print(artifact)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
