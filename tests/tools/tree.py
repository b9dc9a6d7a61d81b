# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Places the collection where Ansible looks for one: ``.../ansible_collections/couchpy/couchdb``.

``link()`` is enough for playbooks, pytest and mypy; ansible-test follows no link and writes beside
what it tests, so each of its runs gets a ``copy()`` of its own. Run as a script: makes the link.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
COLLECTION = Path("ansible_collections/couchpy/couchdb")


def link() -> Path:
    """Make .cache/collections, whose couchpy.couchdb is this folder, and return its path."""
    place = CACHE / "collections"
    collection = place / COLLECTION
    if not collection.is_symlink():
        collection.parent.mkdir(parents=True, exist_ok=True)
        collection.symlink_to(ROOT, target_is_directory=True)
    return place


def copy(name: str) -> Path:
    """Copy what git knows or would add to .cache/tree/NAME and return the collection's path there.

    The copy is a git repository of its own, for ansible-test asks git which files to test.
    """
    collection = CACHE / "tree" / name / COLLECTION
    shutil.rmtree(collection, ignore_errors=True)
    for path in files():
        target = collection / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    subprocess.run(["git", "init", "--quiet"], cwd=collection, check=True)
    return collection


@contextlib.contextmanager
def reserved(name: str) -> Iterator[str]:
    """Give a name for copy() that no other process uses meanwhile: this one, or this one and a number."""
    folder = CACHE / "tree"
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        candidate = name if number == 1 else f"{name}-{number}"
        with (folder / f"{candidate}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield candidate
            return


def files() -> list[Path]:
    """Return the files of the project, relative to its root: tracked, or new and not ignored."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [Path(name) for name in names.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


if __name__ == "__main__":
    print(link())
