# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of nodes: what couchdb_config declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.server import IN_MEMORY, SESSION_SECRETS, Server
from .._engine.module import Resource
from .._engine.plan import ASK, TRY, Change, Plan, node_shortfall
from .._rules.config import (
    LISTENER_CHANGES,
    LISTENER_KEYS,
    LISTENERS,
    check_setting,
    comment_warning,
    file_warning,
    is_listener,
    locked_out,
    needs_restart,
    same_setting,
)
from .._rules.secrets import mask_setting, setting_secrets
from .._rules.values import setting_string
from ..errors import InvalidInput

_LOG_LEVEL = ("log", "level")
"""The setting that changes for a moment with each secret, so it must not change at the same time."""

ARGUMENT_SPEC: dict[str, t.Any] = {
    "settings": {"type": "dict"},
    "section": {"type": "str"},
    "key": {"type": "str", "no_log": False},
    "value": {"type": "raw"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
    "persist": {"type": "bool", "default": True},
}


_PLACE = ("bind_address", "port")
_MOVING = LISTENERS - {"prometheus"}
"""The listeners that a client's requests may go to."""


@dataclass(frozen=True)
class Desired:
    """The settings as (section, key) → string, None for those that should be absent, and the names of the nodes."""

    settings: dict[tuple[str, str], str | None]
    nodes: list[str]
    persist: bool = True


@dataclass(frozen=True)
class Observed:
    """All settings of each node: node → section → key → value; None for a node that is down.

    ``own`` is the node that answers, if it is one of them and that matters. ``login``: see Server.login_settings.
    """

    nodes: dict[str, t.Any]
    own: str | None = None
    login: t.Mapping[tuple[str, str], str] = field(default_factory=dict)


def begin(client: Server, desired: Desired) -> None:
    """Log in with the password, if there is one, rather than with a session that the task ends."""
    if any(name in desired.settings for name in SESSION_SECRETS):
        client.prefer_password()


def desire(params: dict[str, t.Any]) -> Desired:
    """The options as strings of CouchDB. Raises InvalidInput for settings that can't be set."""
    wanted: dict[tuple[str, str], str | None] = {}
    for section, key, value, options in _given(params):
        absent = params["state"] == "absent" or (value is None and params["settings"] is not None)
        string = None if absent else setting_string(value, options["value"])
        check_setting(section, key, string, options)
        if not params["persist"] and needs_restart(section, key):
            raise InvalidInput(
                "persist", f"is false. Set it to true for {section}/{key}, which CouchDB reads only when it starts"
            )
        wanted[section, key] = string
    return Desired(wanted, params["nodes"], params["persist"])


def observe(client: Server, desired: Desired) -> Observed:
    """All settings of each node, and which of them answers if the task may move or end its own connection."""
    nodes = client.config_of_nodes(desired.nodes)
    login = client.login_settings
    matters = any((is_listener(*name) and len(nodes) > 1) or name in login for name in desired.settings)
    return Observed(nodes, client.answering(nodes) if matters else None, login)


def plan(desired: Desired, observed: Observed) -> Plan:
    """The settings to set and delete on each node. Raises InvalidInput for a change that would end the task's own login."""
    changes: list[Change] = []
    predicted: dict[str, t.Any] = {}
    for node, current_settings in observed.nodes.items():
        if current_settings is None:
            predicted[node] = None
            continue
        others = len(changes)
        predicted[node] = {section: dict(keys) for section, keys in current_settings.items()}
        for (section, key), string in desired.settings.items():
            current = current_settings.get(section, {}).get(key)
            if not same_setting(string, current):
                if node == observed.own and (section, key) in observed.login:
                    raise InvalidInput(
                        observed.login[section, key],
                        f"a change of {section}/{key} would end this login. Log in with login_user and login_password instead",
                    )
                changes.append(_change(node, section, key, current, string, desired.persist, node == observed.own))
                predicted[node].setdefault(section, {})[key] = string
        if sum(is_listener(*change.path[1:]) for change in changes[others:]) > LISTENER_CHANGES:
            raise InvalidInput(
                "settings",
                f"{node} would restart its listener more than {LISTENER_CHANGES} times at once, and CouchDB would stop. "
                f"Change {', '.join(LISTENER_KEYS)} in several tasks, ten seconds apart, or in its files",
            )
        problem = locked_out(predicted[node])
        if problem and problem != locked_out(observed.nodes[node]):
            raise InvalidInput("settings", f"on {node}, {problem}")
    return Plan(
        tuple(changes),
        replace(observed, nodes=predicted),
        (
            *filter(None, (comment_warning(*name, string) for name, string in desired.settings.items() if string)),
            *dict.fromkeys(filter(None, (file_warning(*change.path[1:]) for change in changes if change.after))),
        ),
        afterwards=TRY if any(change.path[1] in _MOVING and change.path[2] in _PLACE for change in changes) else ASK,
        unanswered=_unanswered(changes),
        moved_to=_moved_to(changes),
        shortfall=node_shortfall(_down(observed.nodes), ["/".join(name) for name in desired.settings]),
    )


def _moved_to(changes: t.Sequence[Change]) -> tuple[str | None, str | None] | None:
    """The IP address and the port at which the server listens after these changes; None for what stays, or is not known."""
    moved = {
        change.path[2]: change.after for change in changes if change.path[1] == "chttpd" and change.path[2] in _PLACE
    }
    return None if not moved or None in moved.values() else (moved.get("bind_address"), moved.get("port"))


def _unanswered(changes: t.Sequence[Change]) -> str:
    """How to undo these changes if the server stopped with them."""
    shown = []
    for change in changes:
        section, key = change.path[1:]
        before, after = (mask_setting(section, key, value) for value in (change.before, change.after))
        was = "was not set" if before is None else f"was {before}"
        shown.append(f"{section}/{key} ({was}, {'now deleted' if after is None else f'now {after}'})")
    return (
        f"The server got these settings right before: {', '.join(dict.fromkeys(shown))}. If it stopped, restore them in the last of "
        "its ini files that it reads, such as the last file of local.d or local.ini, and start it. If it listens where this host "
        "cannot reach it, use its new URL"
    )


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The declared settings of each node, before and after, and whether a restart is needed."""
    settings: dict[str, dict[str, dict[str, t.Any]]] = {}
    settings_before: dict[str, dict[str, dict[str, t.Any]]] = {}
    for node, current_settings in observed.nodes.items():
        if current_settings is not None:
            shown = {
                name: mask_setting(*name, current_settings.get(name[0], {}).get(name[1])) for name in desired.settings
            }
            settings[node], settings_before[node] = _by_section(shown), _by_section(shown)
    # The first change of a setting has the original value.
    for change in reversed(changes):
        node, section, key = change.path
        settings_before.setdefault(node, {}).setdefault(section, {})[key] = mask_setting(section, key, change.before)
    return {
        "settings": settings,
        "settings_before": settings_before,
        "nodes_down": _down(observed.nodes),
        "restart_required": any(needs_restart(*change.path[1:]) for change in changes),
    }


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The values of settings that are secret by their name, and the passwords in URLs."""
    settings = (
        {params["section"]: {params["key"]: params["value"]}} if params["settings"] is None else params["settings"]
    )
    return setting_secrets(settings)


def _down(nodes: dict[str, t.Any]) -> list[str]:
    return [node for node, current_settings in nodes.items() if current_settings is None]


def _by_section(values: dict[tuple[str, str], t.Any]) -> dict[str, dict[str, t.Any]]:
    found: dict[str, dict[str, t.Any]] = {}
    for (section, key), value in values.items():
        found.setdefault(section, {})[key] = value
    return found


def _given(params: dict[str, t.Any]) -> t.Iterator[tuple[str, str, t.Any, dict[str, str]]]:
    """Each setting of the options: its section, key and value, and their names in errors."""
    if params["settings"] is None:
        yield params["section"], params["key"], params["value"], {name: name for name in ("section", "key", "value")}
        return
    for section, keys in params["settings"].items():
        name = f"settings.{section}"
        if not isinstance(keys, dict):
            raise InvalidInput(name, "must be a mapping of keys to values")
        for key, value in keys.items():
            yield str(section), str(key), value, {"section": name, "key": f"{name}.{key}", "value": f"{name}.{key}"}


def _change(node: str, section: str, key: str, current: t.Any, string: str | None, persist: bool, own: bool) -> Change:
    # Settings that restart the listener come last, one after the other: requests at the same time may be refused. Those of the
    # node that answers are the very last, as the others are reached through it.
    stage = int((section, key) == _LOG_LEVEL)
    if is_listener(section, key):
        stage = 1 + LISTENER_KEYS.index(key) + (len(LISTENER_KEYS) if own else 0)
    if key == "validate_host":
        # After the names of the hosts, without which it refuses all that follows.
        stage = 1 + 2 * len(LISTENER_KEYS) + own
    wanted: dict[str, t.Any] = {"delete": True} if string is None else {"value": string}
    if not persist:
        wanted["hthdrs"] = IN_MEMORY
    return Change(
        action="delete" if string is None else "create" if current is None else "update",
        what="setting",
        path=(node, section, key),
        before=current,
        after=string,
        call=Server.config,
        arguments={"node": node, "section": section, "key": key, **wanted},
        stage=stage,
        may_be_void=string is None,
    )


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    begin=begin,
    secrets=secrets,
    options=ARGUMENT_SPEC,
    constraints={
        "mutually_exclusive": [("settings", "section"), ("settings", "key"), ("settings", "value")],
        "required_together": [("section", "key")],
        "required_one_of": [("settings", "section")],
        "required_if": [("state", "present", ("settings", "value"), True)],
    },
)
