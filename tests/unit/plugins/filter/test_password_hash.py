# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter password_hash: the hash is CouchDB's, the same each time, and errors are Ansible's."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.couchpy.couchdb.plugins.filter.password_hash import FilterModule
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import passwords

password_hash = FilterModule().filters()["password_hash"]
FILTERS = Path(__file__).parents[4] / "plugins" / "filter"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        # CouchDB 3.4.3 and 3.3.3 made these.
        (
            {"password": "fargo", "salt": "7aa3f5773278176f22d87a545877a35e", "iterations": 10, "prf": "sha"},
            "-pbkdf2-33dd85e33618b30a29bec5d9175eace4e4c92aaf,7aa3f5773278176f22d87a545877a35e,10",
        ),
        (
            {"password": "pw", "salt": "684ab5f3fe657e6a1e7399657c45834e"},
            "-pbkdf2:sha256-1f51af2fb9f68315e279491de02b8cc00290db8fbf2ea81e3ae562c0884abea5,"
            "684ab5f3fe657e6a1e7399657c45834e,600000",
        ),
    ],
)
def test_it_is_the_hash_that_couchdb_makes(given: dict[str, t.Any], text: str) -> None:
    assert password_hash(**given) == text
    assert passwords.verify(given["password"], passwords.parse(text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": ""},
        {"password": 5},
        {"salt": ""},
        {"salt": "a,b"},
        {"salt": None},
        {"iterations": 0},
        {"iterations": "many"},
        {"iterations": None},
        {"iterations": [10]},
        {"iterations": True},
        {"iterations": 1.5},
        {"iterations": 10**12},
        {"prf": "md5"},
    ],
)
def test_what_can_not_work_is_an_error_of_ansible_without_the_password(wrong: dict[str, t.Any]) -> None:
    given = {"password": "c4n4ry", "salt": "abc", "iterations": 1, "prf": "sha", **wrong}
    with pytest.raises(AnsibleFilterError, match="couchpy.couchdb.password_hash: ") as caught:
        password_hash(**given)
    assert "c4n4ry" not in str(caught.value)


def test_its_documentation_names_its_parameters() -> None:
    documented = yaml.safe_load((FILTERS / "password_hash.yml").read_text())["DOCUMENTATION"]
    names = ["password", "salt", "iterations", "prf"]
    assert list(documented["options"]) == ["_input", *names[1:]]
    defaults = {name: option.get("default") for name, option in documented["options"].items()}
    assert (defaults["iterations"], defaults["prf"]) == (600000, "sha256")
