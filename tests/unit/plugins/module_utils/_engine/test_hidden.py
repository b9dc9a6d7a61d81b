# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module hides in its result, and what it registers as a secret where ansible-core 2.22 and later takes that."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.couchpy.couchdb.plugins.module_utils import errors
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import Resource, register_secrets, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules.urls import basic_authorization
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, Wire

GIVEN: dict[str, t.Any] = {"url": URL, "login_user": "ann", "login_password": "hidden words"}


def show(told: t.Any) -> Resource:
    """A resource that reads nothing, and returns what it is given."""
    return Resource(
        desire=lambda params: params,
        observe=lambda client, desired: None,
        report=lambda desired, observed, changes: {"told": told},
        secrets=lambda params: [params["notes"]["token"]],
        options={"notes": {"type": "dict"}},
    )


def outcome(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    resource: Resource,
    token: str,
    **login: t.Any,
) -> dict[str, t.Any]:
    """Run a module as Ansible does, with an option that has a secret inside; return its result."""
    given = {**(login or GIVEN), "url": URL, "notes": {"token": token}}
    # From ansible-core 2.21 on, a result has the invocation only where that is asked for.
    if "inject_invocation" in PASS_VARS:
        given["_ansible_inject_invocation"] = True
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        run(resource)
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_no_result_holds_a_secret(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = outcome(
        monkeypatch, capsys, show([{"secret": ["as hidden words are", "hidden apple", 5, None, True]}]), "hidden apple"
    )
    registered = result.pop("_ansible_new_secrets", [])
    assert result["told"] == [{"secret": ["as ******** are", "********", 5, None, True]}]
    assert "hidden" not in json.dumps(result)
    assert result["invocation"]["module_args"]["notes"] == {"token": "********"}
    if register_secrets is not None:
        assert "hidden apple" in registered


def test_no_failure_holds_a_secret(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wire["GET /"] = (500, {"error": "internal_server_error", "reason": "no hidden pear for hidden words"})
    result = outcome(monkeypatch, capsys, show(None), "hidden pear")
    registered = result.pop("_ansible_new_secrets", [])
    assert result["failed"]
    assert result["reason"] == "no ******** for ********"
    assert "hidden" not in json.dumps(result)
    if register_secrets is not None:
        assert "hidden pear" in registered


def test_options_that_are_refused_are_not_shown(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(params: dict[str, t.Any]) -> t.Iterable[str]:
        raise errors.InvalidInput("notes", "must be other ones")

    resource = show(None)
    result = outcome(monkeypatch, capsys, Resource(**{**resource.__dict__, "secrets": refuse}), "hidden plum")
    assert result["failed"]
    assert result["msg"].startswith("notes: must be other ones")
    assert result["invocation"] == {"module_args": "********"}


def test_a_secret_that_is_found_before_options_are_refused_is_not_shown(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(params: dict[str, t.Any]) -> t.Iterator[str]:
        yield "hidden quince"
        raise errors.InvalidInput("notes", "must be none of: hidden quince, hidden words")

    result = outcome(monkeypatch, capsys, Resource(**{**show(None).__dict__, "secrets": refuse}), "hidden quince")
    assert result["failed"]
    assert "hidden" not in json.dumps({**result, "_ansible_new_secrets": None})


def test_the_password_in_a_header_is_hidden(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wire["GET /"] = (401, {"error": "unauthorized", "reason": "not with hidden words"})
    headers = {"Authorization": basic_authorization("ann", "hidden words")}
    result = outcome(monkeypatch, capsys, show(None), "hidden pear", headers=headers)
    assert wire.headers[0]["Authorization"] == headers["Authorization"]
    assert result["reason"] == "not with ********"
    assert "hidden" not in json.dumps({**result, "_ansible_new_secrets": None})
