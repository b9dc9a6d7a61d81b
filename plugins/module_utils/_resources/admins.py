# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server admins, the same on every node: what couchdb_admin declares, observes, plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._client.admins import Admins
from .._engine.entries import add_once, entries
from .._engine.module import Resource
from .._engine.plan import ASK, DONT, Change, Method, Plan, node_shortfall
from .._rules import admins as rules
from .._rules import passwords
from .._rules.dialect import Dialect
from .._rules.names import check_admin_name
from ..errors import CouchDBError, InvalidInput

_ADMIN: dict[str, t.Any] = {
    "password": {"type": "str", "no_log": True},
    "password_hash": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "no_log": False},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_ADMIN,
    "name": {"type": "str"},
    "state": {**_ADMIN["state"], "default": "present"},
    "update_password": {**_ADMIN["update_password"], "default": "always"},
    "admins": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, **_ADMIN},
        "mutually_exclusive": [("password", "password_hash")],
    },
    "nodes": {"type": "list", "elements": "str", "default": ["all"]},
}


@dataclass(frozen=True)
class Desired:
    """The declared admins by name, and the nodes that should have them. ``single`` is the name of a single one."""

    admins: dict[str, dict[str, t.Any]]
    nodes: list[str]
    single: str | None


@dataclass(frozen=True)
class Observed:
    """The current state.

    ``admins`` has their hashes by node and name. ``own`` is the node that answers, and the admin that the task continues
    as after the change there: the one it logs in as, or at an admin ``party`` the first; otherwise None. ``down`` has
    the nodes that are down.
    """

    admins: dict[str, dict[str, str]]
    hashing: dict[str, t.Any]
    dialect: Dialect
    own: tuple[str, str] | None = None
    party: bool = False
    down: list[str] = field(default_factory=list)


def desire(params: dict[str, t.Any]) -> Desired:
    """The options, checked. Raises InvalidInput for a name, password or hash that can't work, and for a duplicate."""
    desired: dict[str, dict[str, t.Any]] = {}
    for admin, where in entries(params, "admins", ("state", "update_password")):
        check_admin_name(admin["name"], f"{where}name")
        passwords.check_given(admin, where, in_settings=True)
        if admin["state"] == "present" and admin["password"] is None and admin["password_hash"] is None:
            raise InvalidInput(f"{where}password", f"is missing for {admin['name']}. Set password or password_hash")
        add_once(desired, admin["name"], {**admin, "where": where, "salt": passwords.new_salt()}, where)
    return Desired(desired, params["nodes"], params["name"])


def begin(client: Admins, desired: Desired) -> None:
    """Let the client survive that another task, such as this one on another host, changes its password to the same one."""
    for name, admin in desired.admins.items():
        if admin["password"] and admin["update_password"] == "always" and client.logs_in_as(name):
            client.follow_password(admin["password"])


def observe(client: Admins, desired: Desired) -> Observed:
    """The admins of each node."""
    found = client.config_of_nodes(desired.nodes)
    settings = {node: sections for node, sections in found.items() if sections is not None}
    admins = {node: dict(sections.get("admins", {})) for node, sections in settings.items()}
    down = [node for node in found if node not in settings]
    own = _first_admin(desired) if client.is_anonymous else next(filter(client.logs_in_as, desired.admins), None)
    own_node = client.answering(found) if own else None
    hashing = client.dialect.hashing(next(iter(settings.values()), {}))
    return Observed(
        admins, hashing, client.dialect, (own_node, own) if own_node and own else None, client.is_anonymous, down
    )


def _first_admin(desired: Desired) -> str | None:
    """The admin with whom an admin party ends, and the task continues: one with a password, if there is one."""
    present = [name for name, admin in desired.admins.items() if admin["state"] == "present"]
    return next(
        (name for name in present if desired.admins[name]["password"] is not None), present[0] if present else None
    )


def plan(desired: Desired, observed: Observed) -> Plan:
    """The nodes on which admins must be written or removed. Derivations, which take time, run in parallel."""
    hashes = passwords.in_threads(
        lambda admin: rules.wanted_hash(admin, observed.admins, observed.hashing, observed.dialect),
        list(desired.admins.values()),
    )
    changes: list[Change] = []
    predicted = {node: dict(admins) for node, admins in observed.admins.items()}
    for (name, admin), wanted in zip(desired.admins.items(), hashes):
        for node, admins in predicted.items():
            current = admins.pop(name, None)
            if current != wanted:
                changes.append(_change(admin, node, current, wanted, observed))
            if wanted is not None:
                admins[name] = wanted
    for node, admins in predicted.items():
        if not admins and observed.dialect.needs_admin:
            raise InvalidInput(
                "state",
                f"{node} would have no server admin left, and CouchDB 3 would not start. Keep one, or create another first",
            )
    own_admin = desired.admins[observed.own[1]] if observed.own else {}
    locked_out = own_admin.get("password") is None and any(change.path == observed.own for change in changes)
    if observed.party and locked_out and len(changes) > 1:
        raise InvalidInput(
            "admins",
            "end an admin party, and none of them has a password with which the task could create the others. Set "
            "password instead of password_hash for one of them",
        )
    missed = [
        f"the {'removal' if wanted is None else 'hash'} of {name}" for name, wanted in zip(desired.admins, hashes)
    ]
    return Plan(
        tuple(changes),
        replace(observed, admins=predicted),
        afterwards=DONT if locked_out else ASK,
        # Another client that changes the same password at the same time may have sent another hash of it to some nodes.
        again=observed.own is not None
        and not (locked_out or observed.party)
        and any(change.path[1] == observed.own[1] for change in changes)
        and not any(change.may_be_void for change in changes),
        shortfall=node_shortfall(observed.down, missed),
    )


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The admins in the order of the task, and the admins of each node before and after."""
    shown = []
    for name, admin in desired.admins.items():
        current = {node: admins[name] for node, admins in observed.admins.items() if name in admins}
        if current and admin["state"] == "absent":
            nodes = ", ".join(current)
            raise CouchDBError(f"{name} is still an admin of {nodes}, because it is in an ini file. Remove it there")
        stored = rules.shown(next(iter(current.values()), None))
        shown.append(
            {"name": name, "scheme": stored["scheme"], "iterations": stored["iterations"], "nodes": list(current)}
        )
    # The first change of an admin has the original state.
    first = {change.path: change.before and change.before["password"] for change in reversed(changes)}
    return {
        "admins": shown,
        **({"admin": shown[0]} if desired.single else {}),
        "nodes": rules.by_node(list(desired.admins), observed.admins, first),
        "nodes_down": observed.down,
    }


def _change(admin: dict[str, t.Any], node: str, current: str | None, wanted: str | None, observed: Observed) -> Change:
    """The change that sets or removes an admin on a node."""
    name = admin["name"]
    is_own = (node, name) == observed.own
    call: Method = Admins.deladmin
    arguments: dict[str, t.Any] = {"name": name, "node": node}
    if wanted is not None:
        call = Admins.set_admin
        arguments = {**arguments, "hashed": wanted, "password": admin["password"] if is_own else None}
    return Change(
        action="delete" if wanted is None else "create" if current is None else "update",
        what="admin",
        path=(node, name),
        before=current and rules.shown(current),
        after=wanted and rules.shown(wanted),
        call=call,
        arguments=arguments,
        # The admin that the task continues as changes last: the node then refuses the old password. At an admin
        # party it changes first: the node then refuses all others.
        stage=1 if is_own else 2 if observed.party else 0,
        may_be_void=wanted is None,
    )


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    begin=begin,
    client=Admins,
    options=ARGUMENT_SPEC,
    constraints={
        "mutually_exclusive": [
            ("password", "password_hash"),
            *((name, "admins") for name in ("name", "password", "password_hash")),
        ],
        "required_one_of": [("name", "admins")],
    },
)
