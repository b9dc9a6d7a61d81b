# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a molecule scenario with all it needs, or prints why it cannot: ``scenarios.py SCENARIO [ARGUMENT...]``.

The scenario ``default`` needs no container. The others need systemd hosts. If the environment names no image, they run with podman
on an image that mmdebstrap builds once from Debian's packages. apt-get installs missing programs if this runs as root and
COUCHPY_NO_APT is not set. podman keeps everything below .cache. Arguments after the scenario's name go to molecule, such as
``converge`` instead of ``test``. extensions/molecule/README.md has the environment variables.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import tree

sys.path[:0] = [str(tree.ROOT / "tests/package"), str(tree.ROOT / "tests/server")]

import run as server
import stand_in

WITHOUT_CONTAINER = {"default"}
HOME = tree.CACHE / "home/molecule"
CONTAINERS = tree.CACHE / "containers"

# Seconds that one command of podman may take on a busy machine.
PATIENCE_SECONDS = 180

# Debian's package of each program that builds and runs the hosts.
PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "netavark",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "gpg": "gpg",
    "gpg-agent": "gpg-agent",
}
FURTHER_PLACES = ["/usr/lib/podman", "/usr/sbin", "/sbin"]

# The first bytes of the addresses of the hosts; the third is a random one. No network near this machine is likely to use them.
ADDRESSES = "10.251"

# Packages in the image, and those in its archive for the role to install.
INCLUDED = "python3,systemd,systemd-sysv,dbus,python3-apt,ca-certificates,iproute2"
AT_HAND = "adduser curl debconf init-system-helpers lsb-base procps gnupg python3-requests python3-debian libstdc++6"

# The beginning of the line with the reason why a scenario did not run; check.py repeats it in its summary.
SKIPPED = "SKIPPED:"

# The needed parts of the PyPI package ansible.
CONNECTION = ("ansible_collections/community/docker/", "ansible_collections/community/library_inventory_filtering_v1/")

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4000:4000"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"

[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"

[storage.options.overlay]
skip_mount_home = "true"
"""


# Ansible's connection runs this as docker. For its most frequent command, exec, podman would start five processes.
DOCKER = """\
#!/bin/sh
if [ "$1" != exec ]; then
  exec podman "$@"
fi
shift
while :; do
  case "$1" in
    -i) shift ;;
    -u) shift 2 ;;
    *) break ;;
  esac
done
pid=$(podman inspect --format '{{.State.Pid}}' "$1") || exit
shift
exec nsenter --all --target "$pid" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
"""


class CannotRun(Exception):
    """A scenario cannot run here, for the reason in the message."""


def is_there(program: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *FURTHER_PLACES])) is not None


def get_programs() -> None:
    """Install missing programs. Raises CannotRun."""
    missing = [package for program, package in PROGRAMS.items() if not is_there(program)]
    if not missing:
        return
    what = f"Debian's packages {', '.join(missing)}"
    if os.environ.get("COUCHPY_NO_APT"):
        raise CannotRun(f"{what} are not installed, and COUCHPY_NO_APT forbids installing them")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise CannotRun(f"{what} are not installed, and only root on Debian or Ubuntu can do that here")
    print(f"Installing {what} on this machine; COUCHPY_NO_APT=1 prevents that", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"apt-get could not install {what}: {last_line(done.stderr)}")


def subnet() -> str:
    """Return the first three bytes of the addresses of the hosts, chosen once for this .cache.

    podman records the addresses of all its hosts in one place of a machine, and a run that is killed leaves its own there. Another clone
    must not need the same.
    """
    file = CONTAINERS / "subnet"
    if not file.exists():
        file.write_text(f"{ADDRESSES}.{random.randrange(256)}")
    return file.read_text()


def last_line(text: str) -> str:
    """Return the last line of a text that says something."""
    return ([line for line in text.splitlines() if line.strip()] or ["it said nothing"])[-1]


def podman_settings() -> dict[str, str]:
    """Write podman's settings, which keep all it does below .cache; return the variables that name them."""
    CONTAINERS.mkdir(parents=True, exist_ok=True)
    settings = {"CONTAINERS_CONF": CONTAINERS_CONF, "CONTAINERS_STORAGE_CONF": STORAGE_CONF}
    HOME.mkdir(parents=True, exist_ok=True)
    environment = {"HOME": str(HOME)}
    for variable, text in settings.items():
        path = CONTAINERS / f"{variable.lower()}.conf"
        path.write_text(text.format(folder=CONTAINERS))
        environment[variable] = str(path)
    return environment


def image(codename: str, environment: dict[str, str]) -> str:
    """Return the image of a systemd host of a Debian or Ubuntu release, which is made if it is missing."""
    key = hashlib.sha256(f"{INCLUDED} {AT_HAND}".encode()).hexdigest()[:8]
    name = f"localhost/couchpy/{codename}:{key}"
    if subprocess.run(["podman", "image", "exists", name], env=environment, check=False).returncode == 0:
        return name
    print(f"Making the image {name} from Debian's packages (once; about a minute)", flush=True)
    archive = CONTAINERS / f"{codename}-{os.getpid()}.tar"
    archives = '"$1/var/cache/apt/archives"'
    index = f"{sys.executable} {tree.ROOT / 'tests/package/stand_in.py'} --index"
    make = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={INCLUDED}",
        f"--customize-hook=rm -f {archives}/*.deb",
        f"--customize-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes --no-install-recommends --download-only {AT_HAND}",
        f'--customize-hook=mkdir "$1/srv/debian"; mv {archives}/*.deb "$1/srv/debian"; {index} "$1/srv/debian"',
        # From here on the host knows no repository but that.
        '--customize-hook=rm -f "$1/etc/apt/sources.list"',
        '--customize-hook=echo "deb [trusted=yes] file:/srv/debian ./" > "$1/etc/apt/sources.list.d/debian.list"',
        '--customize-hook=echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/fast"',
        codename,
        str(archive),
    ]
    try:
        for command in (make, ["podman", "import", "--quiet", str(archive), name]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotRun(f"{command[0]} could not make the image of {codename}: {last_line(done.stderr)}")
    finally:
        archive.unlink(missing_ok=True)
    return name


def try_host(image: str, environment: dict[str, str]) -> None:
    """Check that a host with a network of its own starts here. Raises CannotRun: not every container can run containers."""
    name = f"couchpy-try-{os.getpid()}"
    host = ["run", "--detach", "--name", name, "--network", name, "--systemd=always", image, "/sbin/init"]
    try:
        for command in (["network", "create", "--internal", "--disable-dns", name], host):
            done = podman(command, environment)
            if done.returncode:
                raise CannotRun(f"podman {command[0]} failed: {last_line(done.stderr)}")
        limit = time.monotonic() + PATIENCE_SECONDS
        while (
            state := podman(["exec", name, "systemctl", "is-system-running"], environment).stdout.strip()
        ) != "running":
            if state == "degraded":
                return
            if time.monotonic() > limit:
                raise CannotRun(f"systemd did not start in a host; its state is {state or 'unknown'}")
            time.sleep(0.5)
    finally:
        podman(["rm", "--force", "--time", "0", name], environment)
        podman(["network", "rm", name], environment)


def podman(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run podman and return the result."""
    command = ["podman", *arguments]
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no result after {PATIENCE_SECONDS} s")


def connection_plugin() -> Path:
    """Return a directory of collections with the connection to the hosts, taken from the PyPI package ``ansible``.

    It is Docker's, which also works with podman; the connection of podman's own collection takes three times as long for a task.
    """
    folder = tree.CACHE / "connection"
    if not (folder / ".complete").exists():
        scratch = tree.CACHE / "connection-download"
        shutil.rmtree(scratch, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), "ansible"]
        subprocess.run(pip, check=True)
        (wheel,) = scratch.glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(CONNECTION)])
        shutil.rmtree(scratch)
        (folder / ".complete").touch()
    return folder


def docker_that_is_podman() -> Path:
    """Return a directory whose ``docker`` is podman, except for ``exec``."""
    folder = CONTAINERS / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "docker"
    scratch = folder / f"docker-{os.getpid()}"
    scratch.write_text(DOCKER)
    scratch.chmod(0o755)
    scratch.rename(script)
    return folder


def hosts() -> dict[str, str]:
    """Check that systemd hosts can be created; return the variables that the scenarios need for them. Raises CannotRun."""
    if os.environ.get("COUCHPY_IMAGE"):
        return {}
    if os.geteuid() != 0:
        raise CannotRun("creating systemd hosts without a published image needs root; set COUCHPY_IMAGE to use one")
    get_programs()
    codename = os.environ.get("COUCHPY_DISTRIBUTION") or "bookworm"
    settings = podman_settings()
    environment = {**os.environ, **settings}
    name = image(codename, environment)
    try_host(name, environment)
    return {
        **settings,
        "COUCHPY_IMAGE": name,
        "COUCHPY_REPOSITORY": str(stand_in.build(codename)),
        "COUCHPY_SUBNET": os.environ.get("COUCHPY_SUBNET") or subnet(),
    }


def play(scenario: str, arguments: Iterable[str]) -> int:
    """Run molecule; return its exit status. Raises CannotRun."""
    needed: dict[str, str] = {}
    collections = [tree.link()]
    path = [Path(sys.executable).parent, os.environ.get("PATH", ""), *FURTHER_PLACES]
    if scenario not in WITHOUT_CONTAINER:
        # Scenarios that start at the same time need the same.
        with server.Lock(tree.CACHE / "hosts.lock"):
            needed = hosts()
        if os.environ.get("COUCHPY_ENGINE", "podman") == "podman":
            path.insert(0, docker_that_is_podman())
        if not os.environ.get("COUCHPY_CONNECTION"):
            with server.Lock(tree.CACHE / "hosts.lock"):
                collections.append(connection_plugin())
    HOME.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **needed,
        "HOME": str(HOME),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, collections)),
        "ANSIBLE_NOCOWS": "true",
        "PATH": os.pathsep.join(map(str, path)),
    }
    command, *more = list(arguments) or ["test"]
    full = ["molecule", command, "--scenario-name", scenario, *more]
    return subprocess.run(full, cwd=tree.ROOT, env=environment, check=False).returncode


def main() -> int:
    """Run a scenario; return 1 if it failed. One that cannot run here is skipped with a message."""
    scenario, *arguments = sys.argv[1:]
    try:
        return 1 if play(scenario, arguments) else 0
    except CannotRun as reason:
        print(f"{SKIPPED} the molecule scenario {scenario} did not run: {reason}.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
