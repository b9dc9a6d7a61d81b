# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a signed Debian repository of stand-ins for Apache's ``couchdb`` package: ``stand_in.py CODENAME``.

The packages of each release in RELEASES hold the embedded server, Node.js and its npm packages, so that they install and run
without a network. The key is made for the repository and not kept. README.md says how the packages are like the real ones.
Prints the directory, which holds ``couchdb-deb`` (the repository), ``keys.asc`` and ``fingerprint``. The same sources build it once.
"""

from __future__ import annotations

import argparse
import email.utils
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = HERE.parent / "server"
sys.path.insert(0, str(SERVER))

import run

# Each release of the stand-in, and the dialect of the embedded server that is closest to it.
RELEASES = {"3.4.3": "3", "3.5.1": "3"}

# Files of the npm packages that are not needed to run them.
NEEDLESS = shutil.ignore_patterns(".bin", "*.md", "*.map", "darwin-*", "win32-*", "android-*")

DAY_SECONDS = 24 * 60 * 60

UNSIGNED = "gpg is not installed; it signs the repository (Debian's package gpg)."


def command(*arguments: str | os.PathLike[str], **environment: str) -> str:
    """Run a command and return its output. If it fails, end the script with its output."""
    done = subprocess.run(
        [os.fspath(argument) for argument in arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(node: str, codename: str) -> str:
    """Return a digest of what the repository is built from."""
    found = hashlib.sha256(f"{codename} {os.stat(node).st_size}".encode())
    for folder in (HERE, SERVER / "lib"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    found.update((SERVER / "package-lock.json").read_bytes())
    return found.hexdigest()[:16]


def package(tree: Path, folder: Path) -> None:
    """Build the package of a tree that has a DEBIAN folder."""
    for path in [tree, *tree.rglob("*")]:
        if path.is_symlink():
            continue
        script = path.parent.name in ("DEBIAN", "bin", "init.d") and path.name not in (
            "control",
            "conffiles",
            "templates",
        )
        path.chmod(0o755 if path.is_dir() or script or path.name == "node" else 0o644)
    command("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, folder)


def fill(tree: Path, values: dict[str, str]) -> None:
    """Replace the names ``@NAME@`` by their values in all files of a tree."""
    for path in tree.rglob("*"):
        if path.is_file():
            text = path.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            path.write_text(text)


def make_runtime(scratch: Path, folder: Path, node: str, architecture: str) -> None:
    """Build the package that all releases need: Node.js, the embedded server and its npm packages."""
    tree = scratch / "couchdb-stand-in"
    home = tree / "opt/couchdb-stand-in"
    (tree / "DEBIAN").mkdir(parents=True)
    home.mkdir(parents=True)
    version = hashlib.sha256(digest(node, "").encode()).hexdigest()[:8]
    (tree / "DEBIAN/control").write_text(
        f"Package: couchdb-stand-in\nVersion: 1.0+{version}\nArchitecture: {architecture}\n"
        "Maintainer: CouchPy contributors <couchpy@users.noreply.github.com>\nDepends: libstdc++6\n"
        "Description: the embedded server of couchpy.couchdb, with all it needs to run\n"
    )
    shutil.copy(node, home / "node")
    shutil.copytree(SERVER / "lib", home / "lib")
    shutil.copytree(run.installed_packages(node), home / "node_modules", ignore=NEEDLESS, symlinks=True)
    package(tree, folder)


def make_release(scratch: Path, folder: Path, release: str, codename: str, architecture: str) -> None:
    """Build the stand-in of one release of CouchDB."""
    tree = scratch / f"couchdb-{release}"
    shutil.copytree(HERE / "couchdb", tree)
    fill(
        tree,
        {
            "VERSION": f"{release}~{codename}",
            "RELEASE": release,
            "DIALECT": RELEASES[release],
            "ARCHITECTURE": architecture,
        },
    )
    home = tree / "opt/couchdb"
    (home / "lib/couch").rename(home / f"lib/couch-{release}")
    for name in ("etc/local.d", "var"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (tree / "var/lib/couchdb").mkdir(parents=True)
    (tree / "var/log/couchdb").mkdir(parents=True)
    (home / "data").symlink_to("/var/lib/couchdb")
    (home / "var/log").symlink_to("/var/log/couchdb")
    package(tree, folder)


def write_index(root: Path, packages: Path, index: Path) -> None:
    """Write the ``Packages`` file for the packages below a folder of a repository."""
    entries = []
    for path in sorted(packages.glob("*.deb")):
        data = path.read_bytes()
        control = command("dpkg-deb", "--field", path).strip()
        entries.append(
            f"{control}\nFilename: {path.relative_to(root)}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text("\n".join(entries))


def write_release(folder: Path, codename: str, architecture: str) -> None:
    """Write the ``Release`` file of a distribution."""
    sums = []
    for path in sorted(folder.rglob("Packages")):
        data = path.read_bytes()
        sums.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {path.relative_to(folder)}")
    (folder / "Release").write_text(
        f"Origin: couchpy.couchdb\nSuite: {codename}\nCodename: {codename}\nArchitectures: {architecture}\n"
        f"Components: main\nDate: {email.utils.formatdate(usegmt=True)}\nSHA256:\n" + "\n".join(sums) + "\n"
    )


def sign(release: Path, folder: Path) -> None:
    """Sign a ``Release`` file with a new key; write the key, for users to trust, and its fingerprint."""
    if shutil.which("gpg") is None:
        sys.exit(UNSIGNED)
    # Not below the repository: the path of gpg's socket must be short.
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        os.chmod(home, 0o700)

        def gpg(*arguments: str | os.PathLike[str]) -> str:
            return command("gpg", "--batch", "--quiet", "--no-tty", *arguments, GNUPGHOME=home)

        try:
            identity = "Tests of couchpy.couchdb <couchpy@users.noreply.github.com>"
            gpg("--passphrase", "", "--quick-generate-key", identity, "rsa2048", "sign", "never")
            gpg("--output", release.with_name("InRelease"), "--clearsign", release)
            gpg("--output", release.with_name("Release.gpg"), "--armor", "--detach-sign", release)
            (folder / "keys.asc").write_text(gpg("--armor", "--export"))
            listing = gpg("--with-colons", "--list-keys")
        finally:
            command("gpgconf", "--kill", "gpg-agent", GNUPGHOME=home)
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
    (folder / "fingerprint").write_text(f"{fingerprint}\n")


def build(codename: str) -> Path:
    """Build the repository of a distribution unless it exists; return its directory."""
    node = run.wheel_node() or run.find_node()
    root = Path(os.environ.get("COUCHPY_CACHE") or run.REPOSITORY / ".cache").resolve() / "package"
    target = root / f"{codename}-{digest(node, codename)}"
    if target.exists():
        return target
    root.mkdir(parents=True, exist_ok=True)
    for old in root.glob("*-*"):
        # A host in another terminal may be installing from a younger one.
        if time.time() - old.stat().st_mtime > DAY_SECONDS:
            shutil.rmtree(old)
    architecture = command("dpkg", "--print-architecture").strip()
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        folder = Path(scratch) / "repository"
        repository = folder / "couchdb-deb"
        pool = repository / "pool"
        pool.mkdir(parents=True)
        make_runtime(Path(scratch), pool, node, architecture)
        for release in RELEASES:
            make_release(Path(scratch), pool, release, codename, architecture)
        distribution = repository / "dists" / codename
        write_index(repository, pool, distribution / f"main/binary-{architecture}/Packages")
        write_release(distribution, codename, architecture)
        sign(distribution / "Release", folder)
        folder.chmod(0o755)
        folder.rename(target)
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a signed repository of stand-ins for Apache's couchdb package.")
    parser.add_argument("codename", nargs="?", help="the distribution the packages are for: bookworm")
    parser.add_argument(
        "--index", metavar="DIR", type=Path, help="only write the Packages file of a folder of packages"
    )
    given = parser.parse_args()
    if given.index:
        write_index(given.index, given.index, given.index / "Packages")
    else:
        print(build(given.codename))
