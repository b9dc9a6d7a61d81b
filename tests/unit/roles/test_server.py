# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role server: its variables, defaults, documentation and tasks say the same, and fit the modules."""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources.server import RESOURCE

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles" / "server"
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import variables

OPTIONS = variables.options()
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
TASK_FILES = sorted((ROLE / "tasks").glob("*.yml"))

STEPS = ["preflight", "install", "configure", "service", "cluster", "verify"]
VARS = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
KINDS = list(variables.kinds())
PARTS = RESOURCE.parts


def tasks(found: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """The tasks of a file, those in blocks as well."""
    for task in found or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def tasks_of(path: Path) -> list[dict[str, t.Any]]:
    return list(tasks(yaml.safe_load(path.read_text())))


def declared(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """What a spec says of an option, in one shape."""
    said = {name: option[name] for name in ("type", "elements", "required", "choices", "no_log") if option.get(name)}
    inner = option.get("options") or {}
    return {"type": "str", **said, "options": {name: declared(suboption) for name, suboption in inner.items()}}


def test_the_readme_has_the_variables_as_the_specs_describe_them() -> None:
    readme = (ROLE / "README.md").read_text()
    assert readme == variables.with_table(readme), "run tests/tools/variables.py"
    for name in OPTIONS:
        assert f"| `{name}` |" in readme


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_takes_what_the_module_takes(kind: str) -> None:
    part = PARTS[kind]
    spec, variable = declared(part.resource.options[part.options[kind]]), declared(OPTIONS[f"couchdb_{kind}"])
    assert variable["options"] == spec["options"]
    assert variable["type"] == spec["type"]


def test_defaults_are_those_that_are_described() -> None:
    assert set(DEFAULTS) <= set(OPTIONS)
    worked_out = {name for name, value in DEFAULTS.items() if isinstance(value, str) and "{{" in value}
    assert {name: OPTIONS[name].get("default") for name in set(DEFAULTS) - worked_out} == {
        name: value for name, value in DEFAULTS.items() if name not in worked_out
    }
    assert {name for name, option in OPTIONS.items() if "default" in option} == set(DEFAULTS) - worked_out


def test_secrets_have_no_default_and_are_marked() -> None:
    for name in ("couchdb_admin_password", "couchdb_cookie", "couchdb_secret"):
        assert name not in DEFAULTS
        assert OPTIONS[name]["no_log"] is True


def test_each_variable_is_known_to_the_search_for_unknown_ones() -> None:
    (pattern,) = re.findall(r"regex_findall\('([^']+)'", VARS["__couchdb_options"])
    assert re.findall(pattern, (ROLE / "meta" / "argument_specs.yml").read_text(), re.MULTILINE) == list(OPTIONS)


def test_every_variable_is_used() -> None:
    text = "".join(
        path.read_text() for path in ROLE.rglob("*") if path.suffix in (".yml", ".j2") and path.parent.name != "meta"
    )
    for name in OPTIONS:
        assert len(re.findall(rf"\b{name}\b", text)) > (name in DEFAULTS), name


def test_no_variable_is_used_that_is_not_described() -> None:
    ours = {"couchdb_config", "couchdb_admin", "couchdb_database", "couchdb_user", "couchdb_document", "couchdb_index"}
    # The last is a variable of all tasks, with a local connection.
    ours |= {"couchdb_replication", "couchdb_cluster", "couchdb_direct"}
    for path in [*TASK_FILES, *(ROLE / "templates").iterdir(), *(ROLE / "vars").iterdir()]:
        used = set(re.findall(r"(?<![\w.])couchdb_[a-z_]+\b", path.read_text()))
        assert used - ours <= set(OPTIONS) | {"couchdb_"}, path.name


def test_each_step_has_its_file_and_its_tag() -> None:
    files = ("main", "host", "declare", "members")
    found = [task for name in files for task in tasks_of(ROLE / "tasks" / f"{name}.yml")]
    for step in STEPS[1:]:
        assert (ROLE / "tasks" / f"{step}.yml").is_file()
        (only,) = [
            task for task in found if f"{step}.yml" in (_included(task), task.get("vars", {}).get("__couchdb_file"))
        ]
        assert step in only["tags"], step
        assert f"`{step}`" in (ROLE / "README.md").read_text()


def test_the_first_step_is_in_the_files_that_have_something_to_do() -> None:
    (check,) = [
        task for task in tasks_of(ROLE / "tasks" / "main.yml") if task.get("loop") == "{{ __couchdb_preflight }}"
    ]
    assert _included(check) == "{{ " + check["loop_control"]["loop_var"] + " }}"
    assert check["tags"] == check["ansible.builtin.include_tasks"]["apply"]["tags"] == ["always"]
    files = re.findall(r"'(\w+\.yml)'", VARS["__couchdb_preflight"])
    assert len(files) == 3
    for name in files:
        assert (ROLE / "tasks" / name).is_file()


def _included(task: dict[str, t.Any]) -> t.Any:
    given = task.get("ansible.builtin.import_tasks") or task.get("ansible.builtin.include_tasks")
    return given.get("file") if isinstance(given, dict) else given


def test_the_table_of_kinds_is_that_of_the_module_and_of_the_tags() -> None:
    assert list(PARTS) == KINDS
    for kind, variable in variables.kinds().items():
        assert variable == f"couchdb_{kind}"
        assert f"couchdb_{kind}" in OPTIONS
        assert f"`{kind}`" in (ROLE / "README.md").read_text()
    (_compute, parts) = tasks_of(ROLE / "tasks" / "parts.yml")
    assert set(parts["couchpy.couchdb.couchdb_server"]) == {
        *KINDS,
        "nodes",
        "local_url",
        "endpoint_admins",
        "wait_timeout",
    }
    for name, tag in VARS["__couchdb_tags"].items():
        assert tag == f"{{{{ '{name}' if '{name}' not in ansible_skip_tags else '__couchdb_skipped' }}}}"
    for path, more in (("parts", []), ("members", []), ("host", ["service", "cluster", "verify"])):
        found = [task["tags"] for task in tasks_of(ROLE / "tasks" / f"{path}.yml") if "{{" in str(task.get("tags"))]
        assert found
        for tags in found:
            assert re.findall(r"{{ __couchdb_tags\.(\w+) }}", tags) == [*more, *KINDS]


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_what_serves_several_steps_is_not_skipped_with_one(path: Path) -> None:
    """A task with the tags of several steps would be skipped by --skip-tags for one of them."""
    several = [task for task in tasks_of(path) if len({*STEPS, *KINDS} & set(_tags(task))) > 1]
    # What is installed is started as well.
    assert [task["name"] for task in several if task["tags"] != ["install", "service"]] == []


def _tags(task: dict[str, t.Any]) -> list[str]:
    found = task.get("tags", [])
    return [found] if isinstance(found, str) else found


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_no_task_loops_over_a_module_that_takes_a_list(path: Path) -> None:
    for task in tasks_of(path):
        if any(key.startswith("couchpy.couchdb.") for key in task):
            assert "loop" not in task, task["name"]


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_only_what_reads_reports_no_change(path: Path) -> None:
    for task in tasks_of(path):
        if task.get("changed_when") is False:
            assert re.match(r"(Read|Wait) ", task["name"])


def test_what_is_shown_or_done_has_one_order() -> None:
    """Ansible's filters of sets return their items in another order from run to run, so that the role only counts these."""
    sets = re.compile(r"\| (?:intersect|difference|symmetric_difference|union)\((?:[^()]|\([^()]*\))*\)(?! \| length)")
    written = [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "examples").rglob("*.yml"), *ROLE.rglob("*.yml")]
    assert [(path.name, match[0]) for path in written for match in sets.finditer(path.read_text())] == []


def test_no_result_has_the_name_of_a_variable() -> None:
    for path in TASK_FILES:
        for task in tasks_of(path):
            named = {task.get("register"), *task.get("ansible.builtin.set_fact", {})}
            assert not named & set(VARS), f"{path.name}: {task['name']}"


def test_no_file_with_a_secret_shows_a_difference() -> None:
    secret = re.findall(r"'path': (\w+)[^}]*'secret': true", VARS["__couchdb_files"])
    assert secret == ["__couchdb_secret_ini", "__couchdb_cookie_file"]
    (task,) = [
        task for task in tasks_of(ROLE / "tasks" / "configure.yml") if task["name"] == "Write the files with secrets"
    ]
    assert task["diff"] is False
    assert "selectattr('secret'" in task["loop"]
    (other,) = [task for task in tasks_of(ROLE / "tasks" / "configure.yml") if task["name"] == "Write the files"]
    assert "rejectattr('secret'" in other["loop"]


def test_a_template_that_shows_differences_holds_no_secret() -> None:
    for path in (ROLE / "templates").iterdir():
        if path.name != "11-ansible-secrets.ini.j2":
            text = path.read_text()
            assert not re.search(
                r"__couchdb_(cookie|secret|admin_hash)\b|couchdb_(cookie|secret|admin_password)\b", text
            )
            assert "to_ini" not in text or "to_ini(secrets=false)" in text


def test_each_request_of_the_role_goes_where_the_others_go() -> None:
    """What talks HTTP is in files that are included where they run: on the host, or on the controller."""
    assert VARS["__couchdb_runner"] == "{{ __couchdb_file if couchdb_from == 'host' else 'controller.yml' }}"
    (block,) = yaml.safe_load((ROLE / "tasks" / "controller.yml").read_text())
    assert (block["delegate_to"], block["become"]) == ("localhost", False)
    assert [_included(task) for task in block["block"]] == ["{{ __couchdb_file }}"]
    given = [
        (task["vars"]["__couchdb_file"], _included(task))
        for path in TASK_FILES
        for task in tasks_of(path)
        if "__couchdb_file" in task.get("vars", {})
    ]
    assert {file for file, _by in given} == {
        *("ask.yml", "drain.yml", "remove-none.yml", "undrain.yml", "verify.yml"),
        "{{ 'declare.yml' if couchdb_cluster_members | length > 0 else 'parts.yml' }}",
    }
    assert [file for file, by in given if by != "http.yml" and "__couchdb_runner }}" not in by] == []
    talking = {
        path.name
        for path in TASK_FILES
        for task in tasks_of(path)
        if any(key.startswith("couchpy.couchdb.") or key == "ansible.builtin.uri" for key in task)
    }
    assert talking == {"ask.yml", "cluster.yml", "drain.yml", "parts.yml", "remove-none.yml", "undrain.yml"}
