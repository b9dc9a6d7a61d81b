# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that verify JSON web tokens, the same on every node: what couchdb_jwt_key declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._client.server import Server
from .._engine.entries import add_once, entries
from .._engine.module import Resource
from .._engine.plan import Change, Plan, node_shortfall
from .._rules import jwt_keys as rules
from .._rules.dialect import Dialect
from ..errors import CouchDBError, InvalidInput, Unsupported

_KEY: dict[str, t.Any] = {
    "type": {"type": "str", "choices": list(rules.TYPES)},
    "key": {"type": "str", "no_log": True},
    "base64": {"type": "bool"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_KEY,
    "kid": {"type": "str"},
    "base64": {**_KEY["base64"], "default": False},
    "state": {**_KEY["state"], "default": "present"},
    "jwt_keys": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": {"kid": {"type": "str", "required": True}, **_KEY},
    },
    "exclusive": {"type": "bool", "default": False},
    "authentication_handler": {"type": "bool"},
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
}


@dataclass(frozen=True)
class Desired:
    """The keys by the key of their setting, None for those that are to be absent; whether there are to be no others; and
    whether requests with tokens are to be authenticated, None to leave that as it is. ``wheres`` are the prefixes of
    the options in errors.
    """

    keys: dict[str, rules.Key | None]
    exclusive: bool
    handler: bool | None
    nodes: list[str]
    wheres: dict[str, str]


@dataclass(frozen=True)
class Observed:
    """The sections of settings that matter, by node; None for a node that is down.

    ``own`` is the node that answers, and the name of its key that verifies the token that the task logs in with; otherwise None.
    """

    nodes: dict[str, dict[str, dict[str, str]] | None]
    dialect: Dialect
    own: tuple[str, str] | None = None


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for what is not a key, not a key id, or listed twice."""
    keys: dict[str, rules.Key | None] = {}
    wheres: dict[str, str] = {}
    for entry, where in entries(params, "jwt_keys", ("type", "base64", "state")):
        if entry["kid"] is None:
            continue
        rules.check_kid(entry["kid"], f"{where}kid")
        if entry["type"] is None:
            raise InvalidInput(f"{where}type", f"is missing. Set one of {', '.join(rules.TYPES)}")
        name = rules.setting_key(entry["type"], entry["kid"])
        key = None
        if entry["state"] == "present":
            if entry["key"] is None:
                raise InvalidInput(f"{where}key", f"is missing for {name}")
            key = rules.declared(entry["type"], entry["key"], bool(entry["base64"]), f"{where}key")
        if name in keys:
            raise InvalidInput(f"{where}kid", f"{name} is listed twice")
        add_once(keys, name, key, where)
        wheres[name] = where
    return Desired(keys, params["exclusive"], params["authentication_handler"], params["nodes"], wheres)


def observe(client: Server, desired: Desired) -> Observed:
    """The keys of each node, its handlers of authentication, and the key of the task's own login."""
    sections = (rules.SECTION, rules.HANDLERS[0])
    found = client.config_of_nodes(desired.nodes)
    nodes = {
        node: None if settings is None else {name: dict(settings.get(name, {})) for name in sections}
        for node, settings in found.items()
    }
    key = next((key for section, key in client.login_settings if section == rules.SECTION), None)
    node = client.answering(nodes) if key and (key in desired.keys or desired.exclusive) else None
    return Observed(nodes, client.dialect, (node, key) if node and key else None)


def plan(desired: Desired, observed: Observed) -> Plan:
    """Which keys must be written or removed on which node.

    Raises Unsupported for a type that the version lacks, InvalidInput for a change that would end the task's own login.
    """
    _check_types(desired, observed.dialect)
    changes: list[Change] = []
    predicted: dict[str, dict[str, dict[str, str]] | None] = {}
    for node, sections in observed.nodes.items():
        if sections is None:
            predicted[node] = None
            continue
        stored = sections[rules.SECTION]
        wanted = _wanted(desired, stored)
        changes += [
            _key_change(node, name, stored.get(name), string)
            for name, string in wanted.items()
            if string != stored.get(name)
        ]
        if any(change.path == observed.own for change in changes):
            name = observed.own[1] if observed.own else ""
            raise InvalidInput(
                f"{desired.wheres[name]}kid" if name in desired.wheres else "exclusive",
                f"the key {name} verifies the token in headers that the task logs in with, and its "
                f"{'replacement' if wanted[name] else 'removal'} would end that login. Log in with login_user and login_password "
                "instead, or with a token of another key",
            )
        section, key = rules.HANDLERS
        handlers = sections[section].get(key)
        after = handlers if desired.handler is None else rules.with_handler(handlers, desired.handler)
        if after != handlers:
            changes.append(_handler_change(node, handlers, after))
        predicted[node] = {
            rules.SECTION: {name: string for name, string in {**stored, **wanted}.items() if string is not None},
            section: {**sections[section], **({} if after is None else {key: after})},
        }
    down = [node for node, sections in predicted.items() if sections is None]
    return Plan(
        tuple(changes),
        replace(observed, nodes=predicted),
        shortfall=node_shortfall(down, [f"the key {name}" for name in desired.keys]),
    )


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The keys in the order of the task, without what they are. Raises CouchDBError for a key that a file brings back."""
    nodes = {node: sections[rules.SECTION] for node, sections in observed.nodes.items() if sections is not None}
    shown = []
    for name, key in desired.keys.items():
        having = [node for node, stored in nodes.items() if stored.get(name)]
        if having and key is None:
            raise CouchDBError(f"{', '.join(having)}: the key {name} is still in an ini file. Remove it there")
        kind, _colon, kid = name.partition(":")
        shown.append({"kid": kid, "type": kind, "nodes": having})
    return {
        "jwt_keys": shown,
        "nodes_down": [node for node, sections in observed.nodes.items() if sections is None],
        "restart_required": any(change.what == "setting" for change in changes),
    }


def _check_types(desired: Desired, dialect: Dialect) -> None:
    types = dialect.jwt_key_types
    for name, key in desired.keys.items():
        if key is not None and key.type not in types:
            known = f"its types are {', '.join(types)}" if types else "they came with 3.1"
            where = desired.wheres[name]
            raise Unsupported(
                f"{where}type: {dialect.product} {dialect.version} has no JWT keys of the type {key.type}; {known}"
            )
    if desired.handler and not types:
        raise dialect.lacks("authentication by JWT; it came with 3.1")


def _wanted(desired: Desired, stored: t.Mapping[str, str]) -> dict[str, str | None]:
    """The settings as they are to be: a key that is the same stays as it is spelt, None is for one to remove."""
    wanted: dict[str, str | None] = {}
    for name, key in desired.keys.items():
        current = stored.get(name)
        if key is None:
            wanted[name] = None
        elif current is not None and rules.stored(key.type, current) == key:
            wanted[name] = current
        else:
            wanted[name] = key.setting()
    if desired.exclusive:
        wanted.update((name, None) for name in stored if name not in wanted)
    return wanted


def _key_change(node: str, name: str, stored: str | None, string: str | None) -> Change:
    value: dict[str, t.Any] = {"delete": True} if string is None else {"value": string.strip()}
    return Change(
        action="delete" if string is None else "create" if stored is None else "update",
        what="jwt_key",
        path=(node, name),
        before=stored and {"secret": stored},
        after=string and {"secret": string},
        call=Server.config,
        arguments={"node": node, "section": rules.SECTION, "key": name, **value},
        may_be_void=string is None,
    )


def _handler_change(node: str, handlers: str | None, after: str | None) -> Change:
    section, key = rules.HANDLERS
    return Change(
        action="create" if handlers is None else "update",
        what="setting",
        path=(node, section, key),
        before=handlers,
        after=after,
        call=Server.config,
        arguments={"node": node, "section": section, "key": key, "value": after},
        # A node answers tokens only once it has their keys.
        stage=1,
    )


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    client=Server,
    options=ARGUMENT_SPEC,
    constraints={
        "mutually_exclusive": [(name, "jwt_keys") for name in ("kid", "key")],
        "required_one_of": [("kid", "jwt_keys", "authentication_handler")],
    },
)
