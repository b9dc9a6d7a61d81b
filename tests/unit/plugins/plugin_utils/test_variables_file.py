# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible reads from a file of variables is what was written to it."""

from __future__ import annotations

import typing as t
from inspect import signature
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.adoption import Reference
from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _variables_file as variables_file

MISREAD = [
    *(
        "no",
        "No",
        "y",
        "on",
        "off",
        "true",
        "~",
        "null",
        "",
        " ",
        "1e3",
        "1E5",
        "0x10",
        "0o7",
        "012",
        "1_0",
        "12:30",
        "1.5",
    ),
    *(
        ".inf",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#x",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        '"',
        "\\",
        "=",
        "<<",
        "?",
        "{}",
        "[]",
    ),
    *("{{ x }}", "{% x %}", "{# x #}", "a{{b", "é", "\U0001f600", "\x85", "\u2028", "\x07", "\t", "a\nb", "a\n b\n\n"),
    *(
        " a\nb",
        "a\r\nb",
        "{{ a\nb }}\n",
        "2001-01-01",
        "---",
        "...",
        "True",
        "[1]",
        "{'a': 1}",
        "$ANSIBLE_VAULT;1.1;AES256",
    ),
]


def read(folder: Path, variables: dict[str, t.Any]) -> dict[str, t.Any]:
    """What Ansible makes of a file of these variables, evaluated."""
    path = folder / "variables.yml"
    path.write_text(variables_file.text(variables, "A comment"), encoding="utf-8")
    loader = DataLoader()
    # As Ansible reads the variables of hosts: older versions evaluate whatever they read.
    trusted = (
        {"trusted_as_template": True} if "trusted_as_template" in signature(loader.load_from_file).parameters else {}
    )
    found = loader.load_from_file(str(path), **trusted)
    return t.cast("dict[str, t.Any]", Templar(loader, variables=found).template(found))


@pytest.mark.parametrize("value", MISREAD)
def test_every_string_stays_as_it_was(value: str, tmp_path: Path) -> None:
    variables = {"couchdb_x": [{"name": value, "inner": {"key": [value]}}], "couchdb_y": value}
    assert read(tmp_path, variables) == variables


def test_keys_stay_as_they_were(tmp_path: Path) -> None:
    variables = {"couchdb_x": dict.fromkeys(MISREAD, "1")}
    path = tmp_path / "variables.yml"
    path.write_text(variables_file.text(variables, "A comment"), encoding="utf-8")
    assert list(DataLoader().load_from_file(str(path))["couchdb_x"]) == MISREAD


def test_other_values_stay_as_they_were(tmp_path: Path) -> None:
    variables = {"couchdb_x": [None, True, False, 0, -1, 2**60, 1.5, 1e20, 1000.0, [], {}, [[]], {"a": {}}]}
    found = read(tmp_path, variables)["couchdb_x"]
    assert found == variables["couchdb_x"]
    assert [isinstance(value, bool) for value in found] == [isinstance(value, bool) for value in variables["couchdb_x"]]
    assert all(isinstance(value, float) for value in found[6:9])


@pytest.mark.parametrize("secret", ["a", "{{ x }}", "[1]", "{'a': 1}", "True", "1", "no"])
def test_a_reference_gives_the_secret(secret: str, tmp_path: Path) -> None:
    secrets = {"vault_a": secret}
    variables = variables_file.protected({"couchdb_x": [Reference("vault_a")]}, secrets)
    assert read(tmp_path, {**variables, **secrets})["couchdb_x"] == [secret]


def test_strings_are_quoted_that_another_parser_would_misread() -> None:
    text = variables_file.text({"a": "1e3", "b": "y", "c": "plain_word"}, "A comment")
    assert text == '---\n# A comment\n\na: "1e3"\nb: "y"\nc: plain_word\n'
    assert yaml.safe_load(text) == {"a": "1e3", "b": "y", "c": "plain_word"}
