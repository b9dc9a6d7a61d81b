# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugins of couchdb_document and couchdb_server: the arguments of the module, and the files read on the controller."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.action import ActionBase
from ansible_collections.couchpy.couchdb.plugins.action import couchdb_server
from ansible_collections.couchpy.couchdb.plugins.action.couchdb_document import ActionModule
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput


class Action(ActionModule):
    """The plugin with a task only: it runs nothing, and ``sent`` has what it would transfer."""

    def __init__(self, arguments: dict[str, t.Any], folder: Path) -> None:
        self._task = SimpleNamespace(
            args=arguments, async_val=0, no_log=False, action="couchpy.couchdb.couchdb_document"
        )
        self._templar = SimpleNamespace(template=lambda value: value)
        self._environment = None
        self._loader = DataLoader()
        self._loader.set_basedir(str(folder))
        self._connection = SimpleNamespace(
            has_native_async=False, _shell=SimpleNamespace(tmpdir="/remote", join_path=lambda *parts: "/".join(parts))
        )
        self._folder = folder
        self.sent: dict[str, t.Any] = {}

    def _find_needle(self, dirname: str, needle: str) -> str:
        return str(self._folder / dirname / needle)

    def _transfer_data(self, remote_path: str, data: str) -> str:
        self.sent[remote_path] = json.loads(data)
        return remote_path

    def _fixup_perms2(self, *arguments: t.Any, **options: t.Any) -> None:
        pass


class ServerAction(Action, couchdb_server.ActionModule):
    """The plugin of couchdb_server."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A playbook's folder with a document in its files."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.json").write_text('{"n": 1}')
    return tmp_path


def documents(action: Action, place: str) -> list[dict[str, t.Any]]:
    ((_name, packed),) = action.sent[place].items()
    return [source["document"] for source in packed]


def test_a_source_becomes_a_file_on_the_host_of_the_module(folder: Path) -> None:
    action = Action({}, folder)
    arguments = action._with_documents({"database": "db", "src": "a.json"})
    assert arguments == {"database": "db", "src": "/remote/documents-0.json"}
    assert documents(action, "/remote/documents-0.json") == [{"_id": "a", "n": 1}]


def test_each_database_has_a_file_of_its_own(folder: Path) -> None:
    action = Action({}, folder)
    databases = [{"database": "a", "src": "a.json"}, {"database": "b", "ids": []}, {"database": "c", "src": "a.json"}]
    assert action._with_documents({"databases": databases}) == {
        "databases": [
            {"database": "a", "src": "/remote/documents-1.json"},
            {"database": "b", "ids": []},
            {"database": "c", "src": "/remote/documents-3.json"},
        ]
    }
    assert set(action.sent) == {"/remote/documents-1.json", "/remote/documents-3.json"}


def test_couchdb_server_has_sources_in_its_list_only(folder: Path) -> None:
    action = ServerAction({}, folder)
    given = {"src": "nowhere", "databases": [{"src": "nowhere"}], "documents": [{"database": "a", "src": "a.json"}]}
    sent = [{"database": "a", "src": "/remote/documents-1.json"}]
    assert action._with_documents(given) == {**given, "documents": sent}
    assert set(action.sent) == {"/remote/documents-1.json"}


@pytest.mark.parametrize(
    "arguments", [{"src": ["a"]}, {"src": ""}, {"src": None}, {"databases": {"a": 1}}, {"databases": ["a", {"src": 1}]}]
)
def test_an_invalid_source_is_left_to_the_module(folder: Path, arguments: dict[str, t.Any]) -> None:
    action = Action({}, folder)
    assert action._with_documents(arguments) == arguments
    assert not action.sent


def test_an_unreadable_file_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "files" / "a.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"src: .*files/a\.json is not JSON: line 1, column 2"):
        Action({}, folder)._with_documents({"src": "a.json"})


def test_it_fails_as_the_module_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "files" / "a.json").write_text("{")
    monkeypatch.setattr(ActionBase, "run", lambda *arguments: {"from": "ansible"})
    monkeypatch.setattr(Action, "_refused_defaults", lambda self: "")
    result = Action({"src": "a.json"}, folder).run(None, {"couchdb_direct": False})
    assert result["msg"].startswith("src: ")
    assert result == {"from": "ansible", "failed": True, "changed": False, "msg": result["msg"]}


def test_files_that_ansible_vault_encrypted_are_decrypted(folder: Path) -> None:
    secret = VaultSecret(b"password of a test")
    (folder / "files" / "a.json").write_bytes(VaultLib().encrypt(b'{"n": 2}', secret=secret))
    action = Action({}, folder)
    action._loader.set_vault_secrets([("default", secret)])
    action._with_documents({"src": "a.json"})
    assert documents(action, "/remote/documents-0.json") == [{"_id": "a", "n": 2}]
