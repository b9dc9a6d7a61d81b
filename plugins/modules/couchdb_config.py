#!/usr/bin/python

# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""couchdb_config: the settings of a server's nodes are as declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: couchdb_config
short_description: Manage the settings of CouchDB nodes
version_added: 1.0.0
author: CouchPy contributors (@couchpy)
description:
  - Sets and deletes settings of CouchDB over HTTP, on every node of a cluster or on some.
  - All settings of a node are read with one request, and only those that differ are written.
extends_documentation_fragment:
  - couchpy.couchdb.connection
  - couchpy.couchdb.connection.password
  - couchpy.couchdb.attributes
  - couchpy.couchdb.attributes.writing
options:
  settings:
    description:
      - Settings as a mapping of sections to mappings of keys to values. A value of V(null) means that the key is to be absent.
      - Values are texts to CouchDB. Booleans and numbers are spelt as CouchDB spells them, and outer spaces are dropped, as it does.
      - Settings that are not named are left alone.
    type: dict
  section:
    description:
      - Section of a single setting.
    type: str
  key:
    description:
      - Key of a single setting.
    type: str
  value:
    description:
      - Value of a single setting. Required unless O(state=absent).
    type: raw
  state:
    description:
      - V(present) sees that the settings have their values.
      - V(absent) deletes them. The values in O(settings) don't matter then. From CouchDB 3.4 on, a deleted setting falls back to what
        the server's files hold, so a default can stay readable. Nothing over HTTP tells it from a value that was set, so check mode
        predicts a change for it, while a real run tries and reports a change only when there was one.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description:
      - Names of the nodes to manage, such as V(couchdb@10.0.0.1). V(all) means each node of the cluster, V(_local) the one that answers.
      - CouchDB 1.x is one node, V(_local).
      - A member of the cluster that is down doesn't keep the others from being managed. The task fails once they are, and tells what the
        one that is down missed.
    type: list
    elements: str
    default: [all]
notes:
  - Server admins are not managed here, but with M(couchpy.couchdb.couchdb_admin).
  - CouchDB writes the values that it is sent over HTTP to its log, so a secret such as C(chttpd_auth/secret) is better kept in a file
    on the server.
  - CouchDB refuses changes of some sections over HTTP, such as C(query_servers). This module refuses them before it changes anything.
seealso:
  - name: CouchDB's settings
    description: Every section and key.
    link: https://docs.couchdb.org/en/stable/config/index.html
  - name: Configuration API
    description: The calls that this module uses.
    link: https://docs.couchdb.org/en/stable/api/server/configuration.html
  - module: couchpy.couchdb.couchdb_info
"""

EXAMPLES = r"""
- name: Set several settings on every node
  couchpy.couchdb.couchdb_config:
    url: http://db.example.com:5984/
    username: admin
    password: "{{ couchdb_admin_password }}"
    settings:
      log:
        level: warning
      couchdb:
        max_document_size: 4194304
      chttpd:
        require_valid_user_except_for_up: true
      smoosh:
        obsolete: null  # absent

- name: Set one setting on the node that answers
  couchpy.couchdb.couchdb_config:
    section: log
    key: level
    value: debug
    nodes: _local

- name: Delete a setting from two nodes
  couchpy.couchdb.couchdb_config:
    section: log
    key: level
    state: absent
    nodes:
      - couchdb@10.0.0.1
      - couchdb@10.0.0.2
"""

RETURN = r"""
settings:
  description:
    - The named settings as they are after the task, or would be in check mode, by node, section and key. A setting that is absent is V(null).
    - Secret values are masked. A node that is down is not in it.
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: warning
settings_before:
  description: The named settings as they were before the task, in the shape of RV(settings).
  type: dict
  returned: success
  sample:
    couchdb@127.0.0.1:
      log:
        level: info
nodes_down:
  description: The nodes that could not be reached; each is to be managed again once it is back.
  type: list
  elements: str
  returned: success, and failure because of them
  sample: [couchdb@10.0.0.3]
restart_required:
  description: Whether one of the settings that changed is read by CouchDB only when it starts.
  type: bool
  returned: success
  sample: false
"""

import typing as t
from dataclasses import dataclass

from ansible_collections.couchpy.couchdb.plugins.module_utils._client.server import Server
from ansible_collections.couchpy.couchdb.plugins.module_utils._module import Resource, run
from ansible_collections.couchpy.couchdb.plugins.module_utils._plan import ASK, TRY, Change, Plan, node_shortfall
from ansible_collections.couchpy.couchdb.plugins.module_utils._secrets import (
    mask_setting,
    setting_secrets,
)
from ansible_collections.couchpy.couchdb.plugins.module_utils._settings import (
    LISTENER_CHANGES,
    LISTENER_KEYS,
    check_setting,
    comment_warning,
    is_listener,
    needs_restart,
    same_setting,
    setting_text,
)
from ansible_collections.couchpy.couchdb.plugins.module_utils.errors import InvalidInput

ARGUMENT_SPEC: dict[str, t.Any] = {
    "settings": {"type": "dict"},
    "section": {"type": "str"},
    "key": {"type": "str", "no_log": False},
    "value": {"type": "raw"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
}


@dataclass(frozen=True)
class Desired:
    """The settings as (section, key) → text, None for those that are to be absent, and the names of the nodes."""

    settings: dict[tuple[str, str], str | None]
    nodes: list[str]


def desire(params: dict[str, t.Any]) -> Desired:
    """The options as CouchDB will spell them. Raises InvalidInput for what can't be set."""
    wanted: dict[tuple[str, str], str | None] = {}
    for section, key, value, options in _given(params):
        absent = params["state"] == "absent" or (value is None and params["settings"] is not None)
        text = None if absent else setting_text(value, options["value"])
        check_setting(section, key, text, options)
        wanted[section, key] = text
    return Desired(wanted, params["nodes"])


def observe(client: Server, desired: Desired) -> dict[str, t.Any]:
    """All settings of each node: node → section → key → value; None for a node that is down."""
    return client.config_of_nodes(desired.nodes)


def plan(desired: Desired, observed: dict[str, t.Any]) -> Plan:
    """What must be set and deleted on which node."""
    changes: list[Change] = []
    predicted: dict[str, t.Any] = {}
    for node, held_settings in observed.items():
        if held_settings is None:
            predicted[node] = None
            continue
        others = len(changes)
        predicted[node] = {section: dict(keys) for section, keys in held_settings.items()}
        for (section, key), text in desired.settings.items():
            held = held_settings.get(section, {}).get(key)
            if not same_setting(text, held):
                changes.append(_change(node, section, key, held, text))
                predicted[node].setdefault(section, {})[key] = text
        if sum(is_listener(*change.path[1:]) for change in changes[others:]) > LISTENER_CHANGES:
            raise InvalidInput(
                "settings",
                f"{node} would have to open its listener more than {LISTENER_CHANGES} times at once, and CouchDB stops "
                f"then: change {', '.join(LISTENER_KEYS)} in several tasks, ten seconds apart, or in its files",
            )
    return Plan(
        tuple(changes),
        predicted,
        tuple(filter(None, (comment_warning(*name, text) for name, text in desired.settings.items() if text))),
        afterwards=TRY if any(is_listener(*change.path[1:]) for change in changes) else ASK,
        shortfall=node_shortfall(_down(observed), ["/".join(name) for name in desired.settings]),
    )


def report(desired: Desired, observed: dict[str, t.Any], changes: list[Change]) -> dict[str, t.Any]:
    """The named settings of each node, as they are and as they were, and whether a restart is needed."""
    settings: dict[str, dict[str, dict[str, t.Any]]] = {}
    settings_before: dict[str, dict[str, dict[str, t.Any]]] = {}
    for node, held_settings in observed.items():
        if held_settings is not None:
            shown = {
                name: mask_setting(*name, held_settings.get(name[0], {}).get(name[1])) for name in desired.settings
            }
            settings[node], settings_before[node] = _by_section(shown), _by_section(shown)
    # The first change of a setting knows what was there at first.
    for change in reversed(changes):
        node, section, key = change.path
        settings_before.setdefault(node, {}).setdefault(section, {})[key] = mask_setting(section, key, change.before)
    return {
        "settings": settings,
        "settings_before": settings_before,
        "nodes_down": _down(observed),
        "restart_required": any(needs_restart(*change.path[1:]) for change in changes),
    }


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The values of settings that are secret by their name, or hold an address with a password."""
    settings = (
        {params["section"]: {params["key"]: params["value"]}} if params["settings"] is None else params["settings"]
    )
    return setting_secrets(settings)


def _down(observed: dict[str, t.Any]) -> list[str]:
    return [node for node, held_settings in observed.items() if held_settings is None]


def _by_section(values: dict[tuple[str, str], t.Any]) -> dict[str, dict[str, t.Any]]:
    found: dict[str, dict[str, t.Any]] = {}
    for (section, key), value in values.items():
        found.setdefault(section, {})[key] = value
    return found


def _given(params: dict[str, t.Any]) -> t.Iterator[tuple[str, str, t.Any, dict[str, str]]]:
    """Each setting of the options: its section, key and value, and how errors call these."""
    if params["settings"] is None:
        yield params["section"], params["key"], params["value"], {name: name for name in ("section", "key", "value")}
        return
    for section, keys in params["settings"].items():
        name = f"settings.{section}"
        if not isinstance(keys, dict):
            raise InvalidInput(name, "must be a mapping of keys to values")
        for key, value in keys.items():
            yield str(section), str(key), value, {"section": name, "key": f"{name}.{key}", "value": f"{name}.{key}"}


def _change(node: str, section: str, key: str, held: t.Any, text: str | None) -> Change:
    # What opens the listener anew goes last, one after the other: whatever is sent meanwhile may find nobody there.
    wanted: dict[str, t.Any] = {"delete": True} if text is None else {"value": text}
    return Change(
        action="delete" if text is None else "create" if held is None else "update",
        what="setting",
        path=(node, section, key),
        before=held,
        after=text,
        call="config",
        arguments={"node": node, "section": section, "key": key, **wanted},
        stage=1 + LISTENER_KEYS.index(key) if is_listener(section, key) else 0,
        may_be_void=text is None,
    )


def main() -> None:
    """Run the module."""
    run(
        Resource(desire, observe, report, plan, secrets=secrets),
        ARGUMENT_SPEC,
        mutually_exclusive=[("settings", "section"), ("settings", "key"), ("settings", "value")],
        required_together=[("section", "key")],
        required_one_of=[("settings", "section")],
        required_if=[("state", "present", ("settings", "value"), True)],
    )


if __name__ == "__main__":
    main()
