# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role concludes from its variables and from the lines that it read on the host."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).parents[3] / "roles" / "server"
OWN_INI = "/opt/couchdb/etc/local.d/zz-couchdb.ini"
INSTALLED = ["package hold installed 3.4.3~bookworm", "os debian 12 bookworm", "uid 0", "systemd"]
ADMIN = {"couchdb_admin_password": "admin-canary"}
TLS = {"couchdb_tls_certificate": "/c", "couchdb_tls_key": "/k"}
NODES = {"couchdb_distribution_tls": {"certificate": "/c", "key": "/k", "ca": "/a"}}


def concluded(name: str, given: dict[str, t.Any], *seen: str) -> t.Any:
    """The value of a variable of the role, with these variables of a user and lines from the host."""
    found: dict[str, t.Any] = {}
    for folder in ("defaults", "vars"):
        found.update(_trusted(yaml.safe_load((ROLE / folder / "main.yml").read_text())))
    found.update(inventory_hostname="db1", ansible_check_mode=False, ansible_play_hosts=["db1"], **ADMIN, **given)
    # Without a lookup: only a program of Ansible finds them on every release.
    found["__couchdb_random"] = "random"
    found["__couchdb_look"] = {"stdout_lines": list(seen)}
    return Templar(loader=DataLoader(), variables=found).template(_trusted(f"{{{{ {name} }}}}"))


def _trusted(value: t.Any) -> t.Any:
    """Since ansible-core 2.19 only strings with a mark are templates."""
    try:
        from ansible.template import trust_as_template
    except ImportError:
        return value
    if isinstance(value, dict):
        return {key: _trusted(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_trusted(held) for held in value]
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("system", "minor", "package"),
    [
        ("8.10", 8, "python38-requests"),
        ("8.10", 9, "python39-requests"),
        ("8.10", 11, "python3.11-requests"),
        ("8.10", 12, "python3.12-requests"),
        ("9.4", 9, "python3-requests"),
        ("9.4", 12, "python3.12-requests"),
    ],
)
def test_requests_for_each_python_of_the_red_hat_family(system: str, minor: int, package: str) -> None:
    given = {"ansible_facts": {"python": {"version": {"minor": minor}}}}
    assert concluded("__couchdb_os.packages", given, f"os rocky {system} none", "like rhel centos fedora") == [package]


@pytest.mark.parametrize(
    ("data", "confirmed", "removes"),
    [(True, "db1", True), ("yes", "db1", True), (True, "db2", False), (True, "", False), ("no", "db1", False)],
)
def test_databases_are_removed_only_if_that_is_confirmed(data: t.Any, confirmed: str, removes: bool) -> None:
    given = {"couchdb_remove_data": data, "couchdb_remove_data_confirm": confirmed}
    assert concluded("__couchdb_removes_data", given) is removes
    # As the list of files to remove has it.
    assert concluded("(['data'] if __couchdb_removes_data else [])", given) == (["data"] if removes else [])


def test_a_host_of_the_other_family_needs_no_facts() -> None:
    given = {"ansible_facts": {}}
    assert concluded("__couchdb_sources", given, "os debian 12 bookworm") == "/etc/apt/sources.list.d/couchdb.sources"
    assert concluded("__couchdb_os.packages", given, "os debian 12 bookworm", "lacks requests") == ["python3-requests"]


def refused(given: dict[str, t.Any], *seen: str) -> str:
    """Why the host is refused."""
    conditions = concluded("__couchdb_host_conditions", given, *INSTALLED, *seen)
    return " ".join(each["otherwise"] for each in conditions if not each["that"])


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({}, ""),
        ({"couchdb_url": "https://db1.example.com:6984/"}, "db1.example.com"),
        ({"couchdb_url": "https://db1.example.com/", "couchdb_tls_port": 443}, "db1.example.com"),
        ({"couchdb_url": "https://[::1]:6984"}, "::1"),
        # Another port, such as a proxy's, has its own certificate.
        ({"couchdb_url": "https://db1.example.com/"}, ""),
        ({"couchdb_url": "http://db1.example.com:6984/"}, ""),
        ({"couchdb_url": "https://db1.example.com:6984/", "couchdb_validate_certs": False}, ""),
    ],
)
def test_the_certificate_must_name_the_host_of_the_url(given: dict[str, t.Any], host: str) -> None:
    rows = concluded("__couchdb_certificates", {**TLS, **given})
    assert rows == [["couchdb_tls_certificate", "/c", "/k", "", host]]


@pytest.mark.parametrize(
    ("name", "host"),
    [("couchdb@db1.example.com", "db1.example.com"), ("couchdb@10.0.0.1", ""), ("couchdb@fd00::1", "")],
)
def test_the_certificate_of_a_node_must_name_its_host(name: str, host: str) -> None:
    rows = concluded("__couchdb_certificates", {**NODES, "couchdb_node_name": name})
    assert rows == [["couchdb_distribution_tls", "/c", "/k", "/a", host]]


def test_no_file_is_needed_to_remove_a_server() -> None:
    assert concluded("__couchdb_certificate_files", {**TLS, **NODES}) == ["/c", "/k", "/c", "/k", "/a"]
    assert concluded("__couchdb_certificate_files", {**TLS, **NODES, "couchdb_state": "absent"}) == []


def test_an_unfit_certificate_is_refused() -> None:
    assert refused(TLS) == ""
    assert refused(TLS, "unfit couchdb_tls_certificate: /c has expired.") == (
        "couchdb_tls_certificate: /c has expired. Replace it, and run the role again."
    )


def test_certificates_that_could_not_be_checked_are_refused() -> None:
    assert "certificates could not be checked" in refused(TLS, "unchecked")


@pytest.mark.parametrize(
    ("secret", "seen", "warned", "said"),
    [
        (None, [], False, ""),
        ("new-canary", [], False, ""),
        ("new-canary", ["secret /x/11.ini old canary"], True, ""),
        ("old canary", ["secret /x/11.ini old canary"], False, ""),
        (None, ["secret /x/11.ini old canary", f"secret {OWN_INI} old canary"], False, ""),
        ("old canary", ["secret /x/11.ini other", f"secret {OWN_INI} old canary"], False, ""),
        ("new-canary", [f"secret {OWN_INI} old canary"], True, "set over HTTP"),
    ],
)
def test_a_new_session_secret_is_reported(secret: str | None, seen: list[str], warned: bool, said: str) -> None:
    given = {} if secret is None else {"couchdb_secret": secret}
    assert concluded("__couchdb_session_secret_changes", given, *INSTALLED, *seen) is warned
    message = refused(given, *seen)
    assert (said in message) if said else message == ""
    assert "canary" not in message


def test_a_session_secret_is_kept() -> None:
    seen = ("secret /x/11.ini of the role", f"secret {OWN_INI} set over HTTP")
    assert concluded("__couchdb_secret", {}, *INSTALLED, *seen) == "set over HTTP"
    assert concluded("__couchdb_secret", {}, *INSTALLED, seen[0]) == "of the role"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # As --extra-vars name=value gives them.
        ("__couchdb_verifies", {"couchdb_verify": "false"}, False),
        ("__couchdb_verifies", {"couchdb_verify": "true"}, True),
        (
            "__couchdb_in_turn",
            {"couchdb_cluster_members": ["a@b.c", "a@b.d"], "couchdb_restart_together": "false"},
            True,
        ),
        (
            "__couchdb_in_turn",
            {"couchdb_cluster_members": ["a@b.c", "a@b.d"], "couchdb_restart_together": "true"},
            False,
        ),
        (
            "__couchdb_tls_host",
            {"couchdb_url": "https://db1.example.com:6985/", "couchdb_tls_port": "6985"},
            "db1.example.com",
        ),
        ("__couchdb_tls_host", {"couchdb_url": "https://db1.example.com:6984/", "couchdb_validate_certs": "no"}, ""),
    ],
)
def test_a_switch_may_be_a_string(name: str, given: dict[str, t.Any], expected: t.Any) -> None:
    assert concluded(name, given) == expected


@pytest.mark.parametrize(
    "path", [*sorted((ROLE / "tasks").glob("*.yml")), ROLE / "vars" / "main.yml"], ids=lambda path: path.stem
)
def test_no_condition_takes_a_string_for_true(path: Path) -> None:
    """The specs check the variables, and leave the strings of --extra-vars as they are: "false" would be true."""
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    switches = "|".join(name for name, option in options.items() if option["type"] == "bool")
    used = re.compile(
        rf"(?:(?:when:|^ *-|\b(?:if|and|or|not)|\{{\{{|\() *(?:{switches})|[!=]= *(?:{switches}))\b(?! *\|)(?! would)"
    )
    for line in path.read_text().splitlines():
        if not re.match(r' +\w+: "\{\{ couchdb_\w+ \}\}"$', line):
            assert not used.search(line), line
