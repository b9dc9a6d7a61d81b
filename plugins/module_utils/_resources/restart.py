# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts of nodes, one after the other, or half a restart for another tool: what couchdb_restart plans and reports."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._client.parallel import in_parallel
from .._client.restart import Restarts
from .._engine.module import Resource
from .._engine.plan import DONT, Change, Plan
from .._rules.dialect import LOCAL
from .._rules.restart import Cluster
from .._rules.shards import RESTS
from ..errors import InvalidInput, NodeDown, NotInSync

ARGUMENT_SPEC: dict[str, t.Any] = {
    "nodes": {"type": "list", "elements": "str", "default": [LOCAL]},
    "maintenance_mode": {"type": "bool", "default": False},
    "drain_time": {"type": "int", "default": 10},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 120},
    "force": {"type": "bool", "default": False},
    "phase": {"type": "str", "choices": ["all", "drain", "rejoin"], "default": "all"},
    "final_mode": {"type": "str", "choices": ["false", "nolb", "true"], "default": "false"},
}

_WHOLE, _DRAIN, _REJOIN = "all", "drain", "rejoin"


@dataclass(frozen=True)
class Observed:
    """The node that answers, the cluster as it sees it, and the names of the nodes, with V(_local) and V(all) resolved.

    C(modes) are the maintenance modes of the members that are up, by name, C(marked) those that a task put there, which ended before it
    ended that.
    """

    own: str
    cluster: Cluster
    named: list[str]
    modes: t.Mapping[str, str] = field(default_factory=dict)
    marked: t.Collection[str] = ()

    @property
    def resting(self) -> list[str]:
        """The members in maintenance mode, whose copies serve nothing."""
        return [name for name, mode in self.modes.items() if mode == RESTS and name not in self.marked]


def desire(params: dict[str, t.Any]) -> dict[str, t.Any]:
    """The options, checked."""
    if not params["nodes"]:
        raise InvalidInput("nodes", "is empty. Name at least one node")
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}. Set 1 or more")
    if params["drain_time"] < 0:
        raise InvalidInput("drain_time", f"is {params['drain_time']}. Set 0 or more")
    if params["phase"] != _WHOLE and not params["wait"]:
        raise InvalidInput("wait", f"is false. Set it to true with phase: {params['phase']}")
    if params["phase"] != _REJOIN and params["final_mode"] != "false":
        raise InvalidInput("final_mode", f"has no effect without phase: {_REJOIN}. Remove it, or set the phase")
    if params["maintenance_mode"] and not params["wait"]:
        raise InvalidInput("wait", "is false. Set it to true with maintenance_mode, which is ended after the restart")
    return params


def observe(client: Restarts, desired: dict[str, t.Any]) -> Observed:
    """The nodes and their uptimes."""
    client.check_restart(desired["maintenance_mode"] or desired["phase"] != _WHOLE)
    cluster = client.cluster_seen()
    local = LOCAL in desired["nodes"] or len(cluster.members) == 1
    own = client.answering_node() if local else client.local_node()
    # A login that may read this is a server admin, and may restart.
    there = sorted({own, *cluster.sightings})
    found = dict(zip(there, in_parallel(client.maintenance, there)))
    modes = {name: mode for name, (mode, _mark) in found.items()}
    marked = [name for name, (_mode, mark) in found.items() if mark is not None]
    named = cluster.members if "all" in desired["nodes"] else desired["nodes"]
    return Observed(own, cluster, list(dict.fromkeys(own if name == LOCAL else name for name in named)), modes, marked)


def plan(desired: dict[str, t.Any], observed: Observed) -> Plan:
    """A stage for each node; the one that answers is the last. Half a restart is one change, which waits for what a whole one refuses."""
    cluster, named = observed.cluster, observed.named
    unknown = [name for name in named if name not in cluster.members]
    if unknown:
        raise InvalidInput("nodes", f"no such node: {', '.join(unknown)}. Use {', '.join(cluster.members)}")
    if not desired["wait"] and len(named) > 1:
        raise InvalidInput(
            "wait", "is false. Set it to true for more than one node: each must be up again before the next restarts"
        )
    if desired["phase"] != _WHOLE:
        return Plan(_half(desired, observed), observed, afterwards=DONT)
    if cluster.down and not desired["force"]:
        raise NodeDown(
            f"no node is restarted, as others of the cluster are down: {', '.join(cluster.down)}. Start them first, or set force: true"
        )
    down = [name for name in named if name in cluster.down]
    going = sorted((name for name in named if name not in down), key=lambda name: name == observed.own)
    resting = [name for name in observed.resting if any(other != name for other in going)]
    if resting and not desired["force"]:
        raise NotInSync(
            f"no node is restarted, as others of the cluster are in maintenance mode: {', '.join(resting)}. End that first, or set "
            "force: true"
        )
    left = [_serving(desired, observed, name, "false") for name in observed.marked]
    return Plan(
        (*left, *(_change(desired, observed, name, stage) for stage, name in enumerate(going, start=1))),
        observed,
        afterwards=DONT,
        shortfall=NodeDown(f"not restarted, as they are down: {', '.join(down)}") if down else None,
    )


def report(desired: dict[str, t.Any], observed: Observed, changes: list[Change]) -> dict[str, t.Any]:
    """The result of each restart; None for values that are unknown in check mode or without waiting."""
    unknown = {"uptime_after": None, "seconds_away": None}
    if desired["phase"] != _WHOLE:
        (name,) = observed.named
        seen = observed.cluster.sightings.get(name)
        mode = observed.modes.get(name, "false")
        return {"nodes": [{"name": name, "uptime_before": seen and seen.uptime, **unknown, "mode_before": mode}]}
    return {
        "nodes": [
            change.result
            if isinstance(change.result, dict)
            else {"name": change.path[0], "uptime_before": change.before["uptime"], **unknown}
            for change in changes
            if change.what == "node"
        ]
    }


def wait(client: Restarts, desired: dict[str, t.Any], first: Observed, observed: Observed) -> Observed:
    """For half a restart that has nothing to change: wait until the cluster is in sync, as one that has does."""
    if desired["phase"] != _WHOLE and not _half(desired, first):
        client.await_sync(desired["wait_timeout"], first.named)
    return observed


def _half(desired: dict[str, t.Any], observed: Observed) -> tuple[Change, ...]:
    """The change of the maintenance mode of a node, or none."""
    if len(observed.named) != 1:
        raise InvalidInput("nodes", f"names {len(observed.named)} nodes. Name one with phase: {desired['phase']}")
    (name,) = observed.named
    before = observed.modes.get(name, "false")
    if desired["phase"] == _REJOIN:
        return () if before == desired["final_mode"] else (_serving(desired, observed, name, desired["final_mode"]),)
    if before != "false":
        return ()
    without = [*observed.cluster.down, *observed.resting] if desired["force"] else []
    arguments = {"drain_time": desired["drain_time"], "without": without, "shards": not desired["force"]}
    return (_moded(desired, name, before, RESTS, Restarts.drain, arguments),)


def _serving(desired: dict[str, t.Any], observed: Observed, name: str, mode: str) -> Change:
    return _moded(desired, name, observed.modes.get(name, "false"), mode, Restarts.rejoin, {"mode": mode})


def _moded(
    desired: dict[str, t.Any],
    name: str,
    before: str,
    after: str,
    call: t.Callable[..., t.Any],
    arguments: dict[str, t.Any],
) -> Change:
    return Change(
        action="update",
        what="maintenance mode",
        path=(name, "maintenance_mode"),
        before=before,
        after=after,
        call=call,
        arguments={"node": name, "wait_timeout": desired["wait_timeout"], **arguments},
    )


def _change(desired: dict[str, t.Any], observed: Observed, name: str, stage: int) -> Change:
    uptime = observed.cluster.sightings[name].uptime
    arguments = {
        "wait_timeout": desired["wait_timeout"],
        "drain_time": desired["drain_time"] if desired["maintenance_mode"] else None,
        "without": [*observed.cluster.down, *observed.resting],
        "shards": not desired["force"],
    }
    return Change(
        action="restart",
        what="node",
        path=(name,),
        before={"uptime": uptime},
        after={"uptime": None if uptime is None else 0},
        call=Restarts.restart_and_wait if desired["wait"] else Restarts.restart,
        arguments={"node": name, **(arguments if desired["wait"] else {})},
        stage=stage,
    )


RESOURCE = Resource(desire, observe, report, plan, wait, client=Restarts, options=ARGUMENT_SPEC)
