# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and code agree, and every module is in the places where users look for it."""

from __future__ import annotations

import importlib
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import CONNECTION

ROOT = Path(__file__).parents[3]
PACKAGE = "ansible_collections.couchpy.couchdb.plugins"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
FIELDS = ("type", "elements", "required", "default", "choices", "aliases")


def load(kind: str, name: str) -> t.Any:
    return importlib.import_module(f"{PACKAGE}.{kind}.{name}")


def documentation(module: str) -> dict[str, t.Any]:
    """A module's documentation with the options of its fragments."""
    found = yaml.safe_load(load("modules", module).DOCUMENTATION)
    options: dict[str, t.Any] = {}
    for fragment in found["extends_documentation_fragment"]:
        name, _dot, part = fragment.removeprefix("couchpy.couchdb.").partition(".")
        text = getattr(load("doc_fragments", name).ModuleDocFragment, part.upper() or "DOCUMENTATION")
        options.update(yaml.safe_load(text)["options"])
    return {**found, "options": {**options, **found["options"]}}


def declared(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """An option of a spec or of a documentation, in one format."""
    said = {name: option[name] for name in FIELDS if option.get(name) not in (None, False, [])}
    said.setdefault("type", "str")
    inner = option.get("options") or option.get("suboptions") or {}
    return {**said, "options": {name: declared(suboption) for name, suboption in inner.items()}}


def options_of(module: str) -> dict[str, t.Any]:
    """A module's argument spec. Of a composition, the parts check the entries of their lists, with the specs of their own modules."""
    resource = load("modules", module).RESOURCE
    spec: dict[str, t.Any] = {**CONNECTION, **resource.options}
    for part in getattr(resource, "parts", {}).values():
        for name, own in part.options.items():
            spec[name] = {**spec[name], "options": part.resource.options[own].get("options")}
    return spec


@pytest.mark.parametrize("module", MODULES)
def test_documentation_and_argument_spec_agree(module: str) -> None:
    spec = options_of(module)
    documented = documentation(module)["options"]
    assert {name: declared(option) for name, option in documented.items()} == {
        name: declared(option) for name, option in spec.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_example_uses_existing_options(module: str) -> None:
    options = documentation(module)["options"]
    known = set(options) | {alias for option in options.values() for alias in option.get("aliases", [])}
    tasks = yaml.safe_load(load("modules", module).EXAMPLES)
    used = [task[f"couchpy.couchdb.{module}"] for task in tasks if f"couchpy.couchdb.{module}" in task]
    assert used
    for given in used:
        assert set(given) <= known


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_documented_in_full(module: str) -> None:
    found = documentation(module)
    assert found["module"] == module
    assert {"couchpy.couchdb.connection", "couchpy.couchdb.attributes"} <= set(found["extends_documentation_fragment"])
    assert found["seealso"]
    assert found["version_added"]
    for name, value in yaml.safe_load(load("modules", module).RETURN).items():
        assert value.get("sample") is not None or value.get("contains"), name


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["couchdb"]) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_tests_and_a_line_in_the_readme(module: str) -> None:
    target = ROOT / "tests" / "integration" / "targets" / module
    assert [name for name in ("aliases", "meta/main.yml", "tasks/main.yml") if not (target / name).is_file()] == []
    assert f"couchpy.couchdb.{module}:" in (ROOT / "tests" / "targets" / "every_module.yml").read_text()
    assert f'"{module}"' in (ROOT / "tests" / "trust" / "cases.py").read_text()
    assert f"`{module}`" in (ROOT / "README.md").read_text()


def test_every_resource_has_unit_tests() -> None:
    resources = (ROOT / "plugins" / "module_utils" / "_resources").glob("[a-z]*.py")
    folder = ROOT / "tests" / "unit" / "plugins" / "module_utils" / "_resources"
    assert [path.name for path in resources if not (folder / f"test_{path.name}").is_file()] == []


def test_the_secret_options_are_marked() -> None:
    for module in MODULES:
        spec = {**CONNECTION, **load("modules", module).RESOURCE.options}
        for name, option in spec.items():
            if name in ("login_password", "client_key_passphrase", "password", "password_hash", "cookie"):
                assert option["no_log"] is True, (module, name)


def test_no_option_of_a_module_has_the_name_of_a_connection_option() -> None:
    assert not {"username", "password"} & set(CONNECTION)
    assert not [name for name, option in CONNECTION.items() if "aliases" in option]
    for module in MODULES:
        assert not set(CONNECTION) & set(load("modules", module).RESOURCE.options), module


def test_no_markup_ends_at_a_parenthesis_of_its_own() -> None:
    r"""C() ends at the first closing parenthesis; in V() it can be escaped."""
    read = [
        path
        for path in (ROOT / "plugins").rglob("*")
        if path.suffix in (".py", ".yml") and "module_utils" not in path.parts
    ]
    read += (ROOT / "roles").glob("*/meta/*.yml")
    assert [str(path) for path in read if re.search(r"\bC\([^()\n]*\(", path.read_text())] == []
