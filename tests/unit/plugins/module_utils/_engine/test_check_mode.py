# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module returns in check mode, and in a real run, if a node is down."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils import basic
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine.module import run
from ansible_collections.couchpy.couchdb.plugins.module_utils._resources import config
from ansible_collections.couchpy.couchdb.tests.unit.wire import URL, InTurn, Wire


@pytest.mark.parametrize("check_mode", [True, False])
def test_check_mode_does_not_report_changes_as_made_if_a_node_is_down(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check_mode: bool
) -> None:
    wire["GET /_membership"] = {"all_nodes": ["n1@h"], "cluster_nodes": ["n1@h", "n2@h"]}
    wire["GET /_node/n1@h/_config"] = InTurn([{"log": {}}, {"a": {"b": "c"}}])
    wire["GET /_node/n2@h/_config"] = 412, {"error": "nodedown", "reason": "n2@h is down"}
    wire["PUT /_node/n1@h/_config/a/b"] = ""
    given: dict[str, t.Any] = {"url": URL, "settings": {"a": {"b": "c"}}, "_ansible_check_mode": check_mode}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        run(config.RESOURCE)
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    assert result["changed"]
    assert result["nodes_down"] == ["n2@h"]
    if check_mode:
        assert result["msg"] == "n2@h: down, and would miss a/b. A real run changes the other nodes, and then fails"
        assert "changes_done" not in result
    else:
        assert result["msg"].startswith("n2@h: down, and missed a/b. The other nodes are done")
        assert result["changes_done"] == ["create setting n1@h/a/b"]
    assert bool(wire.written) is not check_mode
