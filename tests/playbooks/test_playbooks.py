# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each playbook by name: what it does, and what it refuses before it does anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import embedded
import pytest
import yaml
from named_runs import PASSWORD, ROOT, Runs
from variables import kinds

pytestmark = pytest.mark.timeout(900)

NAMES = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
ARGUMENTS = yaml.safe_load((ROOT / "playbooks" / "vars" / "arguments.yml").read_text())["__couchpy_arguments"]
DECLARED = {
    "couchdb_install": "none",
    "couchdb_settings": {"log": {"level": "warning"}},
    "couchdb_databases": [{"name": "orders", "security": {"members": {"roles": ["shop"]}}}],
    "couchdb_users": [{"name": "ann", "password": "ann-canary", "roles": ["shop"]}],
    "couchdb_indexes": [{"database": "orders", "ddoc": "ix", "name": "by-a", "fields": ["a"]}],
    "couchdb_jwt_keys": [{"kid": "a", "type": "hmac", "key": "key-canary"}],
}


def writes(server: embedded.Server) -> int:
    """How many requests that write reached a server."""
    return sum(
        entry["method"] in ("PUT", "DELETE") or "_bulk_docs" in entry["path"] or entry["path"].endswith("_restart")
        for entry in server.journal()
    )


def update(server: embedded.Server, path: str, **fields: object) -> None:
    """Change a document behind Ansible's back."""
    held = server.request("GET", path)[1]
    assert server.request("PUT", path, {**held, **fields})[0] == 201


def test_check_names_exactly_what_another_client_changed_and_site_mends_it(server: embedded.Server, runs: Runs) -> None:
    runs.hosts({"db1": {"couchdb_url": server.url}}, **DECLARED)
    assert runs.run("site").status == 0
    ended = runs.run("check")
    assert ended.status == 0, ended.printed
    assert "are as declared" in ended.printed

    server.request("PUT", "/_node/_local/_config/log/level", "debug")
    server.request("PUT", "/orders/_security", {"admins": {"roles": ["_admin"]}, "members": {"roles": ["all"]}})
    update(server, "/_users/org.couchdb.user:ann", roles=["boss"])
    rev = server.request("GET", "/orders/_design/ix")[1]["_rev"]
    assert server.request("DELETE", f"/orders/_design/ix?rev={rev}")[0] == 200
    server.request("PUT", "/_node/_local/_config/jwt_keys/hmac:a", "b3RoZXItY2FuYXJ5")
    server.request("PUT", "/somebodys")
    before = writes(server)
    ended = runs.run("check", couchpy_report_extra=True)
    assert ended.status == 2
    said = re.findall(r'"(db1: .*)"', ended.printed)
    assert said == [
        "db1: settings: log/level",
        "db1: jwt_keys: hmac:a (secret)",
        "db1: databases: orders (security)",
        "db1: users: ann (roles)",
        "db1: indexes: orders/ix/by-a (missing)",
    ]
    assert "somebodys" in ended.printed
    assert writes(server) == before
    for canary in ("ann-canary", "key-canary", "b3RoZXItY2FuYXJ5"):
        assert canary not in ended.printed

    assert runs.run("site").status == 0
    assert runs.run("check").status == 0
    server.request("DELETE", "/somebodys")


NASTY = ["no", "1e3", "~", "null", "0x10", "12:30", "{{ x }}", "a: b", "é", "'", '"', "#x"]


def test_what_was_adopted_is_what_the_server_is(server: embedded.Server, runs: Runs) -> None:
    for name in ("no", "e1"):
        server.request("PUT", f"/{name}")
    attributes = {
        "text": "012",
        "flag": True,
        "nothing": None,
        "{{ k }}": "{% x %}",
        "token": "[1]",
        "lines": "a\n b\n\n",
    }
    # CouchDB takes no colon in the name of a user.
    for name in [name for name in NASTY if ":" not in name]:
        user = {"_id": f"org.couchdb.user:{name}", "name": name, "type": "user", "roles": NASTY, **attributes}
        path = "/_users/" + "".join(f"%{byte:02x}" for byte in user["_id"].encode())
        assert server.request("PUT", path, {**user, "password": "user-canary"})[0] == 201
    for key in ("n", "on", "1e3"):
        server.request("PUT", f"/_node/_local/_config/nasty/{key}", "1e3")
    server.request("PUT", "/_node/_local/_config/jwt_keys/hmac:no", "a2V5LWNhbmFyeQ==")
    replication = {"source": f"{server.url}no", "target": "http://u:target-canary@127.0.0.1:9/t", "continuous": True}
    server.request("PUT", "/_replicator/1e3", replication)
    design = {"_id": "_design/app", "views": {"all": {"map": "function (doc) {\n  emit('{{ x }}');\n}\n"}}}
    server.request("PUT", "/no/_design/app", design)

    runs.hosts({"db1": {"couchdb_url": server.url}})
    refused = runs.run("adopt")
    assert refused.status == 2
    assert "the run was given no vault password" in refused.printed
    assert not (runs.inventory / "host_vars").exists()

    password = runs.folder / "vault-password"
    password.write_text("a vault password")
    vault = f"--vault-password-file={password}"
    (runs.inventory / "host_vars").mkdir()
    misplaced = runs.inventory / "host_vars" / "db1.yml"
    misplaced.write_text("couchdb_install: none\n")
    ended = runs.run("adopt", vault)
    assert "Move it to" in ended.printed
    assert not (runs.inventory / "host_vars" / "db1").exists()
    misplaced.unlink()

    before = writes(server)
    ended = runs.run("adopt", vault)
    assert ended.status == 0, ended.printed
    written = runs.inventory / "host_vars" / "db1"
    plain, encrypted = (written / "couchdb.yml").read_text(), (written / "vault.yml").read_text()
    assert encrypted.startswith("$ANSIBLE_VAULT;")
    for canary in ("target-canary", "user-canary", "a2V5LWNhbmFyeQ", "derived_key", "pbkdf2"):
        assert canary not in plain + encrypted + ended.printed
    ended = runs.run("check", vault)
    assert ended.status == 0, ended.printed
    assert writes(server) == before
    ended = runs.run("adopt", vault)
    assert ended.status == 0, ended.printed
    assert all(line.count("changed=0") for line in ended.printed.splitlines() if "changed=" in line)

    (written / "couchdb.yml").write_text("couchdb_install: none  # mine\n")
    ended = runs.run("adopt", vault)
    assert ended.status == 2
    assert "exists with other content" in ended.printed
    assert "# mine" in (written / "couchdb.yml").read_text()
    assert runs.run("adopt", vault, couchpy_overwrite=True).status == 0
    assert (written / "couchdb.yml").read_text() == plain


def test_info_shows_the_servers_and_changes_nothing(server: embedded.Server, runs: Runs) -> None:
    runs.hosts({"db1": {"couchdb_url": server.url}}, couchdb_install="none")
    before = writes(server)
    ended = runs.run("info", couchpy_gather_subset=["server", "cluster"])
    assert ended.status == 0, ended.printed
    assert '"health": "healthy"' in ended.printed
    assert writes(server) == before


def test_restart_takes_one_node_after_the_other(runs: Runs) -> None:
    with embedded.server(dialect="3", admin=f"admin:{PASSWORD}", nodes=3) as cluster:
        cluster.join()
        members = [f"node{number}@127.0.0.1" for number in (1, 2, 3)]
        hosts = {f"db{number}": {"couchdb_url": url} for number, url in enumerate(cluster.urls, 1)}
        runs.hosts(hosts, couchdb_install="none", couchdb_cluster_members=members)
        ended = runs.run("restart", couchpy_drain_time=0)
        assert ended.status == 0, ended.printed
        restarts = [entry["node"] for entry in cluster.journal() if entry["path"].endswith("_restart")]
        assert len(restarts) == 3
        assert len(set(restarts)) == 3
        cluster.clear_journal()
        ended = runs.run("restart", "--limit", "db2", couchpy_drain_time=0)
        assert ended.status == 0, ended.printed
        assert [entry["node"] for entry in cluster.journal() if entry["path"].endswith("_restart")] == [members[1]]
        runs.hosts({"cluster": {"couchdb_url": cluster.url}}, couchdb_install="none")
        cluster.clear_journal()
        ended = runs.run("restart", couchpy_drain_time=0)
        assert ended.status == 0, ended.printed
        assert sum(entry["path"].endswith("_restart") for entry in cluster.journal()) == 3


def test_upgrade_says_what_it_needs(server: embedded.Server, runs: Runs) -> None:
    runs.hosts({"db1": {"couchdb_url": server.url}}, couchdb_install="none")
    ended = runs.run("upgrade")
    assert ended.status == 2
    assert "couchdb_version is not set" in ended.printed
    assert "couchdb_install is none" in ended.printed


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_refused_before_anything_is_sent(name: str, runs: Runs) -> None:
    runs.hosts({"db1": {"couchdb_url": "http://127.0.0.1:9/"}}, group="others", couchdb_install="none")
    ended = runs.run(name)
    assert ended.status == 2
    assert "The inventory has no hosts for couchdb." in ended.printed
    ended = runs.run(name, couchpy_hosts="others", couchpy_hots="x")
    assert ended.status == 2
    assert "couchpy_hots (did you mean couchpy_hosts?)" in ended.printed
    for variable, spec in ARGUMENTS[name].items():
        if spec["type"] in ("bool", "int"):
            ended = runs.run(name, couchpy_hosts="others", **{variable: "not that"})
            assert ended.status == 2
            assert variable in ended.printed
            assert f"to {spec['type']}" in ended.printed or "is not a valid boolean" in ended.printed
            break


def test_the_playbooks_use_the_defaults_that_are_documented() -> None:
    for name in NAMES:
        used = ""
        for path in [ROOT / "playbooks" / f"{name}.yml", *sorted((ROOT / "playbooks" / "tasks").glob("*.yml"))]:
            used += path.read_text()
        for variable, spec in ARGUMENTS[name].items():
            assert variable in used, variable
            found = re.findall(rf"\b{variable} \| default\(((?:\[[^]]*\]|[^)])*)\)", used)
            if "default" in spec:
                assert {
                    yaml.safe_load(value) if not value.startswith("[") else json.dumps(yaml.safe_load(value))
                    for value in found
                } == {json.dumps(spec["default"]) if isinstance(spec["default"], list) else spec["default"]}, variable


@pytest.mark.parametrize(
    ("module", "file", "more"), [("couchdb_server", "parts", {"report_extra"}), ("couchdb_cluster", "cluster", set())]
)
def test_the_playbooks_compare_all_that_the_role_declares(module: str, file: str, more: set[str]) -> None:
    name = f"couchpy.couchdb.{module}"
    tasks = [
        next(task for task in yaml.safe_load((ROOT / path).read_text()) if name in task)
        for path in (f"roles/server/tasks/{file}.yml", "playbooks/tasks/compare.yml")
    ]
    role, compare = (task[name] for task in tasks)
    assert set(compare) == set(role) | more
    assert {option for option in role if option not in kinds() and compare[option] != role[option]} == set()
    if module == "couchdb_cluster":
        assert tasks[1]["when"] == [condition.replace("__couchdb_", "__couchpy_") for condition in tasks[0]["when"]]


def test_check_looks_at_a_single_member_and_at_the_ends_of_replications(server: embedded.Server, runs: Runs) -> None:
    node = server.request("GET", "/_node/_local")[1]["name"]
    far = {"name": "far", "type": "user", "roles": []}
    assert server.request("PUT", "/_users/org.couchdb.user:far", {**far, "password": "far-canary"})[0] == 201
    server.request("PUT", "/copied")
    login = {"login_user": "admin", "login_password": PASSWORD}
    source = {"url": f"{server.url}copied", "username": "far", "password": "far-canary"}
    runs.hosts(
        {"db1": {"couchdb_url": server.url}},
        couchdb_install="none",
        couchdb_cluster_members=[node],
        couchdb_replications=[{"name": "copy", "source": source, "target": "copied", "continuous": True}],
        couchdb_endpoint_admins=[{"url": server.url, **login}],
    )
    ended = runs.run("site")
    assert ended.status == 0, ended.printed
    ended = runs.run("check")
    assert ended.status == 0, ended.printed

    server.request("PUT", "/_node/_local/_config/cluster/n", "3")
    update(server, "/_users/org.couchdb.user:far", password="other-canary")
    ended = runs.run("check")
    assert ended.status == 2
    end = server.url.rstrip("/")
    assert re.findall(r'"(db1: .*)"', ended.printed) == [
        f"db1: replications: copy, {end} (far)",
        f"db1: members: {node} (cluster)",
    ]
    assert "canary" not in ended.printed
    server.request("DELETE", "/copied")


def test_check_asks_each_server_although_nothing_is_declared(server: embedded.Server, runs: Runs) -> None:
    runs.hosts({"db1": {"couchdb_url": server.url}}, couchdb_install="none")
    assert runs.run("check").status == 0
    ended = runs.run("check", couchdb_admin_password="wrong")
    assert ended.status == 2
    assert "Name or password is incorrect" in ended.printed
    runs.hosts({"db1": {"couchdb_url": "http://127.0.0.1:9/"}}, couchdb_install="none")
    ended = runs.run("check")
    assert ended.status == 2
    assert "nothing answers" in ended.printed


def test_check_does_not_compare_what_is_to_be_absent(server: embedded.Server, runs: Runs) -> None:
    removed = {"couchdb_url": server.url, "couchdb_state": "absent", "couchdb_settings": {"removed": {"a": "b"}}}
    runs.hosts({"db1": {"couchdb_url": server.url}, "db2": removed}, couchdb_install="none")
    assert runs.run("site").status == 0
    ended = runs.run("check")
    assert ended.status == 0, ended.printed
    assert "1 of 2 hosts were compared, and are as declared." in ended.printed


def test_no_tag_leaves_out_the_confirmation_of_a_removal(server: embedded.Server, runs: Runs) -> None:
    server.request("PUT", "/precious")
    declared = {"couchdb_databases": [{"name": "precious"}], "couchdb_state": "absent", "couchdb_remove_data": True}
    runs.hosts({"db1": {"couchdb_url": server.url}}, couchdb_install="none", **declared)
    ended = runs.run("site", "--skip-tags", "preflight")
    assert ended.status == 2
    assert "To confirm that, set couchdb_remove_data_confirm" in ended.printed
    runs.run("site", "--skip-tags", "always,preflight")
    assert server.request("GET", "/precious")[0] == 200
    server.request("DELETE", "/precious")


def test_all_playbooks_log_in_with_the_variables_of_the_role() -> None:
    role = yaml.safe_load((ROOT / "roles" / "server" / "tasks" / "main.yml").read_text())
    own = yaml.safe_load((ROOT / "playbooks" / "vars" / "main.yml").read_text())["__couchpy_connection"]
    assert role[0]["module_defaults"]["group/couchpy.couchdb.couchdb"] == own


def test_every_playbook_is_in_the_readme() -> None:
    for page in ("README.md", "playbooks/README.md"):
        text = Path(ROOT / page).read_text()
        for name in NAMES:
            assert f"couchpy.couchdb.{name}" in text, (page, name)
    table = (ROOT / "playbooks" / "README.md").read_text()
    for arguments in ARGUMENTS.values():
        for variable in arguments:
            assert f"`{variable}`" in table


def test_report_has_all_servers_also_those_that_do_not_answer(server: embedded.Server, runs: Runs) -> None:
    hosts = {
        "db1": {"couchdb_url": server.url},
        "silent": {"couchdb_url": "http://127.0.0.1:9/"},
        "away": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9},
    }
    declared = {"couchdb_databases": [{"name": "reported"}], "couchdb_settings": {"x": {"token": "token-canary"}}}
    runs.hosts(hosts, couchdb_install="none", **declared)
    before = writes(server)
    ended = runs.run("report", couchpy_title="Our <servers>", couchpy_directory=str(runs.folder / "out"))
    assert ended.status in (0, 4), ended.printed
    assert writes(server) == before
    made = json.loads((runs.folder / "out" / "report.json").read_text())
    found = {entry["name"]: entry for entry in made["servers"]}
    health = {name: entry["health"] for name, entry in found.items()}
    assert health == {"db1": "healthy", "silent": "unreachable", "away": "unreachable"}
    things = [thing for part in found["db1"]["differences"] for thing in part["things"]]
    assert [(thing["name"], thing["change"]) for thing in things] == [("x/token", "missing"), ("reported", "missing")]
    assert found["db1"]["last_seen"] == made["at"]
    page, text = ((runs.folder / "out" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "Our &lt;servers&gt;" in page
    assert "| db1 |" in text
    for canary in ("token-canary", PASSWORD):
        assert canary not in page + text + json.dumps(made) + ended.printed
