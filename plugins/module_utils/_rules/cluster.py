# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of a cluster: the settings that they must share, the shards on each, and the cluster's health. Pure.

How CouchDB's clusters are set up: https://docs.couchdb.org/en/stable/setup/cluster.html
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import CouchDBError, InvalidInput, Unreachable, listed
from .names import check_node_name

COPIES = 3
"""The number of copies of a shard that CouchDB's cluster setup makes at most."""

HEALTHY, DEGRADED, DOWN = "healthy", "degraded", "down"

ALIKE = (("couchdb", "uuid"), ("chttpd_auth", "secret"))
"""The settings that must be the same on every node of a cluster, so that sessions and replications survive a change of node."""

ZONE = re.compile(r"[^\s,:]+\Z")
"""Names of zones that CouchDB's setting C(cluster/placement) can hold."""

Settings = t.Mapping[str, t.Mapping[str, str]]
Membership = t.Mapping[str, t.Sequence[str]]


@dataclass(frozen=True)
class Member:
    """A desired member: its name, its URL, with credentials if it needs them, and its zone."""

    name: str
    url: str | None = None
    zone: str | None = None


@dataclass(frozen=True)
class Placement:
    """Where the shards of a database are: range → names of nodes.

    ``origin`` differs between databases with the same name that were created independently of one another.
    """

    ranges: dict[str, list[str]]
    origin: str = ""


Shards = t.Mapping[str, Placement]


@dataclass(frozen=True)
class Server:
    """What a node reports at its URL: its name, its version, and all else if it was read in full.

    Otherwise ``settings`` has only the section C(cluster), and ``members`` and ``shards`` are empty.
    """

    node: str
    version: str
    settings: Settings = field(default_factory=dict)
    members: t.Sequence[str] = ()
    shards: Shards = field(default_factory=dict)


def given_members(given: t.Sequence[t.Any]) -> list[Member]:
    """The members that an option lists, names or mappings of C(name), C(url) and C(zone). Raises InvalidInput."""
    members: list[Member] = []
    for entry in given:
        row = entry if isinstance(entry, t.Mapping) else {"name": entry}
        unknown = sorted(str(key) for key in row if key not in ("name", "url", "zone"))
        if unknown:
            raise InvalidInput("members", f"a member has no {', '.join(unknown)}. Use name, url and zone")
        name, url = row.get("name"), row.get("url")
        if not isinstance(name, str):
            raise InvalidInput(
                "members", "has an entry without a name. Use names of nodes, or mappings with name and url"
            )
        check_node_name(name, "members")
        if url is not None and not (isinstance(url, str) and url):
            raise InvalidInput("members", f"the url of {name} is not a URL. Use a string such as http://HOST:5984")
        if any(member.name == name for member in members):
            raise InvalidInput("members", f"{name} is listed twice")
        zone = row.get("zone")
        if zone is not None and not (isinstance(zone, str) and ZONE.match(zone)):
            raise InvalidInput(
                "members",
                f"the zone of {name} is {zone}. Use a string without spaces, commas and colons, and put it in quotes",
            )
        members.append(Member(name, url, zone))
    if not members:
        raise InvalidInput("members", "is empty. Name at least one node")
    return members


def placement(document: t.Mapping[str, t.Any]) -> Placement:
    """Where the shards of a database are, from its document in C(_dbs)."""
    suffix = "".join(chr(code) for code in document.get("shard_suffix") or [])
    first = (document.get("changelog") or [[]])[0]
    ranges = {name: list(nodes) for name, nodes in (document.get("by_range") or {}).items()}
    return Placement(ranges, "/".join([suffix, *(str(part) for part in first)]))


def databases_on(shards: Shards, node: str) -> list[str]:
    """The databases that have a copy of a shard on this node."""
    return [name for name, placed in shards.items() if any(node in nodes for nodes in placed.ranges.values())]


def copies(shards: Shards) -> dict[str, int]:
    """The number of copies of shards on each node; nodes without any are left out."""
    counted: dict[str, int] = {}
    for placed in shards.values():
        for nodes in placed.ranges.values():
            for node in nodes:
                counted[node] = counted.get(node, 0) + 1
    return counted


def clashes(ours: Shards, theirs: Shards) -> list[str]:
    """The databases that both sides created under the same name: CouchDB would keep one and lose the other."""
    return [name for name, placed in theirs.items() if name in ours and ours[name].origin != placed.origin]


def unlike(ours: Settings, theirs: Settings) -> list[str]:
    """What differs between two nodes and must be the same, in words without secrets."""
    found = [
        f"the setting {section}/{key}"
        for section, key in ALIKE
        if ours.get(section, {}).get(key) != theirs.get(section, {}).get(key)
    ]
    our_admins, their_admins = ours.get("admins", {}), theirs.get("admins", {})
    for name in sorted({*our_admins, *their_admins}):
        if our_admins.get(name) != their_admins.get(name):
            both = name in our_admins and name in their_admins
            found.append(f"the password hash of the admin {name}" if both else f"the admin {name}, which only one has")
    return found


def problem(
    name: str, ours: Server, found: Server | CouchDBError, members: t.Collection[str], connected: bool
) -> str | None:
    """Why a node can't be a member of our cluster, by what answered at its URL; None if it can.

    ``members`` are the current and the desired ones. Of a member that is ``connected`` only the name is checked: a
    cluster that is upgraded node by node has two versions for a while. If nothing answers, that is no problem here: see lack().
    """
    if isinstance(found, CouchDBError):
        return None if isinstance(found, Unreachable) else str(found)
    if not connected and found.version.split(".")[:2] != ours.version.split(".")[:2]:
        return f"it is CouchDB {found.version}, and {ours.node} is {ours.version}"
    if found.node != name:
        return f"the node that answers at its url is {found.node}"
    strangers = [member for member in found.members if member not in members]
    if strangers and not connected:
        return f"it belongs to a cluster with {listed(strangers)}"
    return None


def lack(ours: Server, found: Server | CouchDBError) -> str | None:
    """What a node lacks before it can join our cluster, and can still get; None if it lacks nothing."""
    if isinstance(found, CouchDBError):
        return str(found)
    different = unlike(ours.settings, found.settings)
    if different:
        return (
            f"it differs from {ours.node} in what must be the same on all members: {listed(different)}. Set these with "
            "couchdb_config and couchdb_admin first"
        )
    clashing = clashes(ours.shards, found.shards)
    if clashing:
        return (
            f"it has databases of its own that {ours.node} has too, and CouchDB would lose one of each: {listed(clashing)}. "
            "Move their content and delete them on one side first"
        )
    return None


def advice(name: str, databases: t.Sequence[str]) -> str:
    """What to do about a member that is not connected, by the databases with shards on it."""
    if databases:
        return f"{name} has shards of {listed(databases)} and is down. Start it"
    return f"{name} has no shards. Start it. If the node does not exist, set exclusive: true and remove it from members"


def disagreements(names: t.Collection[str], answers: t.Mapping[str, Membership | str], *, exclusive: bool) -> list[str]:
    """Where the nodes do not agree yet that these are the members, a sentence each; empty once they agree.

    ``answers``: node → its membership, or why it gave none. ``exclusive``: no other node may be a member.
    """
    found = []
    for place, membership in answers.items():
        if isinstance(membership, str):
            found.append(f"{place}: {membership}")
            continue
        unlisted = [name for name in names if name not in membership["cluster_nodes"]]
        apart = [name for name in names if name not in membership["all_nodes"] and name not in unlisted]
        others = [name for name in membership["cluster_nodes"] if name not in names] if exclusive else []
        for problem, nodes in (
            ("does not list", unlisted),
            ("is not connected with", apart),
            ("still lists", others),
        ):
            if nodes:
                found.append(f"{place} {problem} {', '.join(nodes)}")
    return found


def given_replacements(given: t.Mapping[str, t.Any], members: t.Sequence[Member]) -> dict[str, str]:
    """The option C(replace): a node that is gone for good → the member that takes its place. Raises InvalidInput."""
    names = [member.name for member in members]
    for old, new in given.items():
        check_node_name(old, "replace")
        if not isinstance(new, str) or new not in names:
            raise InvalidInput("replace", f"{new} replaces {old}, and is missing from members. Add it there")
        if old != new and old in names:
            raise InvalidInput("replace", f"{old} is also listed in members. Remove it there, as it is gone for good")
    if len(set(given.values())) < len(given):
        raise InvalidInput("replace", "gives several nodes the same replacement. Name another for each")
    return dict(given)


@dataclass(frozen=True)
class Node:
    """The state of a node. ``shards`` and ``maintenance_mode`` are None if they are unknown.

    ``problem`` says why a connected node could not be read.
    """

    name: str
    member: bool = True
    connected: bool = True
    shards: int | None = None
    maintenance_mode: str | None = None
    problem: str | None = None

    @property
    def in_maintenance(self) -> bool | None:
        """Whether load balancers leave it out, by its C(_up); None if that is unknown."""
        return None if self.maintenance_mode is None else self.maintenance_mode in ("true", "nolb")

    @property
    def serves(self) -> bool:
        """Whether CouchDB reads and writes its copies of shards; with C(nolb) it does."""
        return self.connected and not self.problem and self.maintenance_mode != "true"


@dataclass(frozen=True)
class Health:
    """The health of a cluster, C(healthy), C(degraded) or C(down), and its problems, a sentence each."""

    word: str = HEALTHY
    problems: list[str] = field(default_factory=list)


def health(nodes: t.Sequence[Node], shards: Shards) -> Health:
    """The health of a cluster.

    Healthy: every member is connected and in service, and every copy of every shard is on one of them. Down: a shard
    has no copy on one of them, so that its documents can be neither read nor written. Degraded: anything between.
    """
    problems = []
    for node in nodes:
        if not node.connected:
            problems.append(f"{node.name} is a member and is not connected")
        elif not node.member:
            problems.append(
                f"{node.name} is connected and is not a member. Stop it, as everything created on it spreads here"
            )
        elif node.problem:
            problems.append(f"{node.name} is connected and could not be asked: {node.problem}")
        elif node.in_maintenance:
            problems.append(f"{node.name} is in maintenance ({node.maintenance_mode})")
    serving = {node.name for node in nodes if node.serves}
    known = {node.name for node in nodes}
    lost, fewer, strange = [], [], []
    for name, placed in shards.items():
        serving_copies = [len(serving.intersection(holders)) for holders in placed.ranges.values()]
        if not all(serving_copies):
            lost.append(name)
        elif any(count < len(holders) for count, holders in zip(serving_copies, placed.ranges.values())):
            fewer.append(name)
        if not known.issuperset(holder for holders in placed.ranges.values() for holder in holders):
            strange.append(name)
    if lost:
        problems.append(f"no copy of some shard is in service: {listed(lost)}")
    if fewer:
        problems.append(f"some copy of a shard is not in service: {listed(fewer)}")
    if strange:
        problems.append(f"shards are placed on nodes that are neither members nor connected: {listed(strange)}")
    return Health(DOWN if lost else DEGRADED if problems else HEALTHY, problems)
