# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Information of a server: what couchdb_info gathers and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._client.declaration import Declaration
from .._client.health import Health
from .._client.shards import Shards
from .._engine.module import Resource
from .._engine.plan import Change
from .._rules import passwords, secrets
from .._rules.certificates import problem as certificate_problem
from .._rules.cluster import DEGRADED, HEALTHY
from .._rules.cluster import health as cluster_health
from .._rules.declaration import chosen, is_pattern
from .._rules.names import check_database_name
from ..errors import (
    Forbidden,
    InvalidInput,
    NodeDown,
    NotFound,
    ServerError,
    Unauthorized,
    Unreachable,
    Unsupported,
)


class Reader(Declaration, Health, Shards):
    """The client of this module."""


@dataclass(frozen=True)
class Desired:
    """The subsets to gather, those that the task names itself, and their options."""

    subsets: list[str]
    named: set[str]
    databases: list[str] | None
    node: str
    users: list[str] | None
    secrets: bool
    in_maintenance: list[str]
    wait_timeout: int | None


def _databases(client: Reader, desired: Desired) -> list[dict[str, t.Any]]:
    names = desired.databases
    if names is not None and any(map(is_pattern, names)):
        known = chosen(client.database_names(), names)
        names = [*known, *(name for name in names if not is_pattern(name) and name not in known)]
    infos = client.dbs_info(names)
    return [{"name": name, "exists": info is not None, "info": info} for name, info in infos.items()]


def _admins(client: Reader, desired: Desired) -> list[dict[str, t.Any]]:
    found = []
    for name, text in client.admins(node=desired.node).items():
        try:
            stored = passwords.parse(text)
            found.append({"name": name, "scheme": stored.scheme, "iterations": stored.iterations})
        except ValueError:
            found.append({"name": name, "scheme": None, "iterations": None})
    return found


def _cluster(client: Reader, desired: Desired) -> dict[str, t.Any]:
    nodes, shards = client.cluster_nodes()
    health = cluster_health(nodes, shards)
    return {
        "members": [node.name for node in nodes if node.member],
        "connected": [node.name for node in nodes if node.connected],
        "nodes": [
            {
                "name": node.name,
                "member": node.member,
                "connected": node.connected,
                "shards": node.shards,
                "maintenance": node.in_maintenance,
            }
            for node in nodes
        ],
        "health": health.word,
        "problems": health.problems,
        **_sync(client, desired),
    }


def _sync(client: Reader, desired: Desired) -> dict[str, t.Any]:
    """Whether the cluster is in sync, and what it lacks; None before CouchDB 3.0, which does not report all of it."""
    if not client.dialect.has_shard_map:
        return {"in_sync": None, "gaps": []}
    try:
        gaps = client.sync_gaps(resting=desired.in_maintenance)
    except (NotFound, ServerError, Unreachable) as error:
        # A node that is just going down, or starting.
        gaps = [str(error)]
    return {"in_sync": not gaps, "gaps": gaps}


def _shards(client: Reader, desired: Desired) -> dict[str, t.Any]:
    placed = client.shards()
    return {
        "zones": client.zones(),
        "databases": [
            {"name": name, "ranges": placed[name].ranges} for name in chosen(sorted(placed), desired.databases)
        ],
    }


def _health(client: Reader, desired: Desired) -> dict[str, t.Any]:
    nodes, shards = client.cluster_nodes()
    cluster = cluster_health(nodes, shards)
    certificate = client.certificate()
    replications = client.replication_problems()
    problems = list(cluster.problems)
    for kind, found in replications.items():
        problems += [f"the replication {row['name']} is {kind}: {row['reason']}" for row in found]
    problems += filter(None, [certificate_problem(certificate)])
    return {
        "status": cluster.word if cluster.word != HEALTHY or not problems else DEGRADED,
        "problems": problems,
        **_sync(client, desired),
        "replications": replications,
        "certificate": certificate,
    }


def _declaration(client: Reader, desired: Desired) -> dict[str, t.Any]:
    declared, omitted = client.declaration(desired.databases, desired.users, secrets=desired.secrets)
    return {"declaration": declared, "not_declared": omitted.entries}


SUBSETS: dict[str, t.Callable[[Reader, Desired], t.Any]] = {
    "server": lambda client, desired: client.welcome(),
    "databases": _databases,
    "config": lambda client, desired: secrets.mask_settings(client.config(node=desired.node)),
    "admins": _admins,
    "stats": lambda client, desired: client.stats(node=desired.node),
    "system": lambda client, desired: client.system(desired.node),
    "active_tasks": lambda client, desired: secrets.mask_document(client.active_tasks()),
    "versions": lambda client, desired: client.versions(desired.node),
    "smoosh": lambda client, desired: client.smoosh(desired.node),
    "certificate": lambda client, desired: client.certificate(),
    "cluster": _cluster,
    "shards": _shards,
    "health": _health,
    "replications": lambda client, desired: secrets.mask_document(client.replications()),
    "session": lambda client, desired: client.authsession(),
    "declaration": _declaration,
    "log": lambda client, desired: secrets.mask_log(client.log()),
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "gather_subset": {
        "type": "list",
        "elements": "str",
        "choices": [sign + name for sign in ("", "!") for name in ("all", *SUBSETS)],
        "default": ["server", "databases"],
    },
    "databases": {"type": "list", "elements": "str"},
    "node": {"type": "str", "default": "_local"},
    "users": {"type": "list", "elements": "str"},
    "include_secrets": {"type": "bool", "default": False},
    "in_maintenance": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 60},
}


_LARGE = frozenset(["declaration"])
"""The subsets that are gathered only by their own name: they read far more than the others."""


def desire(params: dict[str, t.Any]) -> Desired:
    """The subsets to gather. Raises InvalidInput for database names that CouchDB refuses."""
    for name in params["databases"] or []:
        if not is_pattern(name):
            check_database_name(name, "databases")
    if params["include_secrets"] and "declaration" not in params["gather_subset"]:
        raise InvalidInput("include_secrets", "has no effect without the subset declaration. Add it to gather_subset")
    named = {name for name in params["gather_subset"] if name in SUBSETS}
    taken = {name[1:] for name in params["gather_subset"] if name.startswith("!")}
    asked = (
        set(SUBSETS) - (_LARGE - named) if "all" in params["gather_subset"] or not (named or "all" in taken) else named
    )
    left = [name for name in SUBSETS if name in asked and name not in taken and ("all" not in taken or name in named)]
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}. Set 1 or more")
    return Desired(
        subsets=left,
        named=named,
        databases=params["databases"],
        node=params["node"],
        users=params["users"],
        secrets=params["include_secrets"],
        in_maintenance=params["in_maintenance"],
        wait_timeout=params["wait_timeout"] if params["wait"] else None,
    )


def observe(client: Reader, desired: Desired) -> dict[str, t.Any]:
    """The result of each subset; None for one that the server lacks or refuses and the task does not name."""
    return {name: _gathered(name, client, desired) for name in desired.subsets}


def _gathered(name: str, client: Reader, desired: Desired) -> t.Any:
    try:
        return SUBSETS[name](client, desired)
    except NodeDown as error:
        raise InvalidInput("node", error.reason or str(error)) from None
    except (Unsupported, NotFound, Unauthorized, Forbidden):
        if name in desired.named:
            raise
    return None


def wait(client: Reader, desired: Desired, first: dict[str, t.Any], observed: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result once the cluster is in sync. Raises NotInSync if it is not in time."""
    if desired.wait_timeout is None:
        return observed
    client.dialect.check_cluster()
    client.await_sync(desired.wait_timeout, desired.in_maintenance)
    return observe(client, desired)


def report(desired: Desired, observed: dict[str, t.Any], changes: list[Change]) -> dict[str, t.Any]:
    """The result: one key a subset, and with the declaration what it leaves out."""
    return {**observed, **(observed.get("declaration") or {})}


RESOURCE = Resource(
    desire, observe, report, wait=wait, client=Reader, confidential="include_secrets", options=ARGUMENT_SPEC
)
