# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-test sanity for one ansible-core: ``sanity.py CORE [ARGUMENT...]``.

ansible-test installs the tools of its tests itself, with a pip that it downloads from a host of
Ansible's. It is given a home folder under .cache, so that nothing outside the project is written.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import pythons
import tree

# The pip each ansible-test brings into the environments it makes.
PIP = {"2.18": "24.2", "2.19": "24.2", "2.20": "25.2", "2.21": "25.2", "2.22": "25.2"}
DOWNLOAD = "https://ci-files.testing.ansible.com/ansible-test/get-pip-{}.py"
DOWNLOAD_SECONDS = 10

# All tests run on the newest ansible-core of this machine. On the others run those whose answer
# depends on the ansible-core: documentation, argument specs, imports. Style is the same everywhere.
OF_CORE = ["action-plugin-docs", "ansible-doc", "compile", "ignores", "import", "runtime-metadata", "validate-modules"]

# Takes the place of the download on a machine that can't reach it: the pip that Python ships.
ENSUREPIP = "import ensurepip\n\nensurepip.bootstrap()\n"


def make_home(core: str) -> Path:
    """Make the home folder for an ansible-test, with pip's bootstrap and settings; return it."""
    home = tree.CACHE / "home" / core
    script = home / ".ansible/test/cache" / f"get_pip_{PIP[core].replace('.', '_')}.py"
    if not script.exists():
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(bootstrap(PIP[core]))
    settings = home / ".config/pip/pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    with settings.open("w") as stream:
        pip_settings().write(stream)
    return home


def bootstrap(version: str) -> str:
    """Return the script that brings pip into an empty environment."""
    try:
        with urllib.request.urlopen(DOWNLOAD.format(version), timeout=DOWNLOAD_SECONDS) as answer:
            return str(answer.read().decode())
    except OSError as exc:
        print(f"ansible-test's own pip {version} can't be downloaded ({exc}): using Python's pip.")
        return ENSUREPIP


def pip_settings() -> configparser.RawConfigParser:
    """Return this machine's pip settings, of which ansible-test passes on neither variables nor home."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(pip, check=True, capture_output=True, text=True).stdout
    settings = configparser.RawConfigParser()
    settings.add_section("global")
    for line in listing.splitlines():
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        if section in ("global", ":env:") and option != "constraint":
            settings.set("global", option, value.strip("'"))
    return settings


def take_releases() -> None:
    """Let ansible-test install releases from PyPI where it names an archive of a repository, as a release candidate may."""
    for path in Path(sysconfig.get_path("purelib")).glob("ansible_test/_data/requirements/sanity.*.txt"):
        path.write_text(re.sub(r"^(\S+) @ https?://\S+$", r"\1", path.read_text(), flags=re.MULTILINE))


def path_of_working_pythons() -> str:
    """Return PATH without the folders where a python3.N is found that doesn't start.

    Version managers put a python3.N there for each release they know, selected or not; ansible-test
    would take them for Pythons to test on. A release that isn't found at all, it passes over.
    """
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if all(map(starts, Path(folder).glob("python3.[0-9]*"))))


def starts(python: Path) -> bool:
    """Return whether a Python starts; what is named like one and is none (python3.11-config) passes."""
    if not python.name.rpartition(".")[2].isdigit():
        return True
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def main() -> int:
    """Run ansible-test sanity as the command line asks, and return its exit status."""
    core, *arguments = sys.argv[1:]
    if not arguments and core != pythons.newest():
        arguments = [word for test in OF_CORE for word in ("--test", test)]
    environment = {**os.environ, "HOME": str(make_home(core)), "PATH": path_of_working_pythons()}
    take_releases()
    collection = tree.copy(f"sanity-{core}")
    command = ["ansible-test", "sanity", "--color", "no", *arguments]
    print("Running", *command, flush=True)
    return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
