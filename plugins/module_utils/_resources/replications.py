# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replications, with a document or without: what couchdb_replication declares, observes, plans and reports."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from .._client.database import Database
from .._client.replications import Replications
from .._engine.entries import add_once, entries
from .._engine.module import Resource
from .._engine.plan import Change, Plan
from .._rules import passwords, users
from .._rules import replications as rules
from .._rules.replications import EndpointServer, Here, Replication
from .._rules.secrets import url_secrets
from .._rules.urls import in_clear_text
from ..errors import CouchDBError, InvalidInput, NotFound

_REPLICATION: dict[str, t.Any] = {
    "name": {"type": "str"},
    "source": {"type": "raw"},
    "target": {"type": "raw"},
    "continuous": {"type": "bool"},
    "create_target": {"type": "bool"},
    "create_target_params": {"type": "dict"},
    "doc_ids": {"type": "list", "elements": "str"},
    "selector": {"type": "dict"},
    "filter": {"type": "str"},
    "query_params": {"type": "dict"},
    "source_proxy": {"type": "str"},
    "target_proxy": {"type": "str"},
    "user_ctx": {"type": "dict"},
    "options": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent", "restarted"]},
    "persistent": {"type": "bool"},
    "wait": {"type": "bool"},
    "restart_failed": {"type": "bool"},
}

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_REPLICATION,
    "state": {**_REPLICATION["state"], "default": "present"},
    "persistent": {"type": "bool", "default": True},
    "wait": {"type": "bool", "default": False},
    "restart_failed": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 300},
    "replicator": {"type": "str", "default": rules.REPLICATOR},
    "local_url": {"type": "str"},
    "replications": {"type": "list", "elements": "dict", "options": _REPLICATION},
    "endpoint_admins": {
        "type": "list",
        "elements": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "login_user": {"type": "str", "required": True},
            "login_password": {"type": "str", "required": True, "no_log": True},
        },
    },
}

_INHERITED = ("state", "persistent", "wait", "restart_failed")

_OLD_FOR = 5.0
"""Seconds for which the state of a changed document may still be the old one."""


@dataclass(frozen=True)
class Desired:
    """The declared replications, and where and how they run.

    ``servers`` are those whose users get the passwords of the replications, ``salt`` is for new password hashes there.
    """

    replications: list[Replication]
    replicator: str
    local_url: str | None
    timeout: int
    servers: list[EndpointServer] = field(default_factory=list)
    salt: str = ""


@dataclass(frozen=True)
class Rotation:
    """A user of another server whose password is not the one that the replications declare.

    ``before`` and ``after`` are its document, in the ``database`` of users. ``problem`` is the error if it cannot be changed.
    """

    server: EndpointServer
    name: str
    database: str
    before: dict[str, t.Any] | None = None
    after: dict[str, t.Any] | None = None
    problem: CouchDBError | None = None

    def touches(self, *documents: t.Mapping[str, t.Any] | None) -> bool:
        """Whether one of these replications logs in as the user."""
        return any(document and rules.logs_in(document, self.server.url, self.name) for document in documents)


@dataclass(frozen=True)
class Observed:
    """The current state.

    ``documents`` and ``states`` are by name, None or left out for missing ones; ``jobs`` run without a document, None
    if the server doesn't list them; ``missing`` has the databases of this server that are needed and don't exist; ``lacking`` is
    the error if the replicator database is missing. ``rotations`` are the users of other servers whose passwords differ,
    ``others`` the documents of undeclared replications by name, if there are rotations. ``in_clear`` has the URLs of the other
    servers that get credentials without TLS.
    """

    here: Here
    documents: dict[str, dict[str, t.Any] | None] = field(default_factory=dict)
    states: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    jobs: list[dict[str, t.Any]] | None = field(default_factory=list)
    missing: frozenset[str] = frozenset()
    lacking: NotFound | None = None
    rotations: tuple[Rotation, ...] = ()
    others: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    in_clear: tuple[str, ...] = ()


def desire(params: dict[str, t.Any]) -> Desired:
    """The replications, checked. Raises InvalidInput for options that can't work, and for duplicates."""
    rules.check_replicator(params["replicator"])
    if params["wait_timeout"] < 1:
        raise InvalidInput("wait_timeout", f"is {params['wait_timeout']}. Set 1 or more")
    found: dict[str, Replication] = {}
    for given, where in entries(params, "replications", _INHERITED):
        each = rules.declared(given, where)
        add_once(found, each.label, each, where)
    replications = list(found.values())
    servers = rules.endpoint_servers(params["endpoint_admins"], replications)
    return Desired(
        replications, params["replicator"], params["local_url"], params["wait_timeout"], servers, passwords.new_salt()
    )


def observe(client: Replications, desired: Desired) -> Observed:
    """The documents, their states, and if it matters the jobs without a document and the existing databases."""
    rules.check_dialect(desired.replicator, client.dialect)
    persistent = [each for each in desired.replications if each.persistent]
    documents, lacking = _documents(client, desired.replicator, persistent)
    observed = Observed(client.replication_here(desired.local_url), documents, lacking=lacking)
    observed = replace(observed, **_running(client, desired, observed), **_endpoints(client, desired, lacking is None))
    needed = {name for each in desired.replications if _changes(each, desired, observed) for name in each.databases}
    there = client.dbs_info(sorted(needed)) if needed else {}
    return replace(observed, missing=frozenset(name for name, info in there.items() if info is None))


def plan(desired: Desired, observed: Observed) -> Plan:
    """The documents to write and delete, and the jobs to start and stop."""
    documents, states, jobs = dict(observed.documents), dict(observed.states), list(observed.jobs or [])
    warnings: list[str] = []
    changes: list[Change] = []
    unmet = _unmet(observed)
    for each in desired.replications:
        found = _changes(each, desired, observed)
        if not found:
            if each.present and not each.persistent:
                warnings += filter(None, [rules.running_warning(each.label, each.document(observed.here))])
            continue
        changes += found
        unmet = unmet or (observed.lacking if each.persistent else None) or each.unmet(observed.missing)
        if each.persistent:
            documents[each.label] = found[-1].arguments["document"] if each.present else None
            states.pop(each.label, None)
            continue
        jobs = [job for job in jobs if job is not _job(each, observed)]
        if each.present and each.continuous:
            jobs.append(rules.new_job(found[-1].arguments["document"]))
    stopped = sorted({change.arguments["document"] for change in changes if change.call is Database.delete})
    changes += [_password_change(rotation, stopped) for rotation in observed.rotations]
    predicted = replace(
        observed, documents=documents, states=states, jobs=None if observed.jobs is None else jobs, rotations=()
    )
    storing = [each.label for each in desired.replications if each.stores_login(observed.here)]
    warnings += [rules.login_warning(storing, observed.here)] if storing else []
    limit = desired.timeout if any(each.waits for each in desired.replications) else float("inf")
    return Plan(tuple(changes), predicted, (*warnings, *_warnings(observed)), unmet=unmet, limit=limit)


def wait(client: Replications, desired: Desired, first: Observed, observed: Observed) -> Observed:
    """Wait for the replications, and return the state then."""
    waited = {each.label: each for each in desired.replications if each.waits}
    begun, asked = time.monotonic(), False

    def ask() -> dict[str, dict[str, t.Any]]:
        nonlocal observed, asked
        if asked:
            observed = replace(observed, **_running(client, desired, observed))
        asked, believed = True, time.monotonic() - begun > _OLD_FOR
        return {
            label: rules.NOTHING if not believed and _is_old(each, first, observed) else _state(each, observed)
            for label, each in waited.items()
        }

    client.await_replications(ask, {label: each.continuous for label, each in waited.items()}, desired.timeout)
    return observed


def report(desired: Desired, observed: Observed, changes: list[Change]) -> dict[str, list[dict[str, t.Any]]]:
    """The replications in the order of the task."""
    results = {change.path[0]: change.result for change in changes if change.call is Replications.replicate_once}
    return {"replications": [_reported(each, observed, results.get(each.label)) for each in desired.replications]}


def secrets(params: dict[str, t.Any]) -> set[str]:
    """The passwords in endpoints, proxies and other options."""
    given = [params, *(params["replications"] or [])]
    found = url_secrets(params["local_url"] or "").union(*(rules.secrets(each) for each in given))
    for server in params["endpoint_admins"] or []:
        found |= url_secrets(server["url"]) | {quote(server["login_password"], safe="")}
    return found


def _documents(
    client: Replications, replicator: str, persistent: list[Replication]
) -> tuple[dict[str, dict[str, t.Any] | None], NotFound | None]:
    names = [each.label for each in persistent]
    try:
        return client.replication_documents(replicator, names) if names else {}, None
    except NotFound as error:
        return dict.fromkeys(names), error


def _running(client: Replications, desired: Desired, observed: Observed) -> dict[str, t.Any]:
    """The states of the existing documents, and the jobs without one if some are declared."""
    there = [name for name, document in observed.documents.items() if document]
    jobs = any(not each.persistent and (each.continuous or not each.present) for each in desired.replications)
    return {
        "states": client.replication_states(desired.replicator, there),
        "jobs": client.replication_jobs() if jobs else [],
    }


def _endpoints(client: Replications, desired: Desired, has_replicator: bool) -> dict[str, t.Any]:
    """The users of other servers whose passwords differ, and who else logs in as them."""
    found: list[Rotation] = []
    in_clear: list[str] = []
    for server in desired.servers:
        there = client.endpoint_server(server)
        database, hashing = there.user_settings()
        documents, admins = there.users(list(server.logins), database=database), there.admins()
        for name, password in server.logins.items():
            rotation = Rotation(server, name, database)
            current = documents[name]
            if name in admins:
                problem = f"{name} is a server admin there. Use another user for replications"
                found.append(replace(rotation, problem=InvalidInput(f"{server.where}url", problem)))
            elif current is None:
                problem = f"there is no user {name} at {server.url}. Create it with couchdb_user"
                found.append(replace(rotation, problem=InvalidInput(f"{server.where}url", problem)))
            else:
                stored = list(filter(None, [passwords.parse_user(current)]))
                wanted = passwords.settle(stored, password, None, hashing, desired.salt)
                if wanted not in stored:
                    found.append(replace(rotation, before=current, after=users.with_hash(current, wanted)))
        if there.sends_in_clear and not there.is_local:
            in_clear.append(there.url)
    others = {}
    if found and has_replicator:
        declared = {each.label for each in desired.replications}
        rows = client.Database(desired.replicator).all_docs(include_docs=True)
        others = {row["id"]: row["doc"] for row in rows if row["id"] not in declared}
    return {"rotations": tuple(found), "others": others, "in_clear": tuple(in_clear)}


def _unmet(observed: Observed) -> CouchDBError | None:
    """The error if a password of another server cannot be changed, or must not be."""
    for rotation in observed.rotations:
        if rotation.problem is not None:
            return rotation.problem
        left = [
            name
            for name, document in observed.others.items()
            if rotation.touches(document) and not rules.is_over(document)
        ]
        if left:
            return InvalidInput(
                "replications",
                f"{', '.join(sorted(left))} also log in as {rotation.name} at {rotation.server.url}, and would fail with "
                "its new password. Declare them in this task",
            )
    return None


def _warnings(observed: Observed) -> tuple[str, ...]:
    return tuple(map(in_clear_text, observed.in_clear))


def _rotates(observed: Observed, *documents: t.Mapping[str, t.Any] | None) -> bool:
    """Whether the replication, as it is or as declared, logs in as a user whose password changes."""
    return any(rotation.touches(*documents) for rotation in observed.rotations)


def _password_change(rotation: Rotation, stopped: list[str]) -> Change:
    # In between: what logs in with the old password is stopped before, what logs in with the new one is started after.
    return Change(
        action="update",
        what="user",
        path=(rotation.server.url.rstrip("/"), rotation.name),
        before=rotation.before,
        after=rotation.after,
        call=Replications.put_endpoint_user,
        arguments={
            "server": rotation.server,
            "database": rotation.database,
            "document": rotation.after,
            "stopped": stopped,
        },
        stage=1,
    )


def _changes(each: Replication, desired: Desired, observed: Observed) -> list[Change]:
    """The changes for a replication."""
    if each.persistent:
        return list(_of_document(each, desired.replicator, observed))
    return list(_of_job(each, desired, observed))


def _of_job(each: Replication, desired: Desired, observed: Observed) -> t.Iterator[Change]:
    document = each.document(observed.here)
    shown = rules.shown_document(document)
    job = _job(each, observed)
    rotates = each.present and _rotates(observed, document)
    restart = each.present and each.continuous and job is not None and (rotates or each.restarts(job["state"]))
    if restart or (not each.present and (job is not None or observed.jobs is None)):
        yield Change(
            action="delete",
            what="replication",
            path=(each.label,),
            before=shown,
            after=None,
            call=Replications.cancel_replication,
            arguments={"document": {**document, **rules.suffixes(job)}},
            void_if={"cancelled": False},
        )
    if not each.present:
        return
    if not each.continuous:
        created = each.target is not None and each.target.database in observed.missing
        yield Change(
            action="create",
            what="replication",
            path=(each.label,),
            before=None,
            after=shown,
            call=Replications.replicate_once,
            arguments={"document": document, "timeout": desired.timeout},
            stage=2 if rotates else 0,
            void_if=None if created else {"docs_written": 0},
        )
        return
    if observed.jobs is None:
        dialect = observed.here.dialect
        raise InvalidInput(
            f"{each.where}persistent",
            f"{dialect.product} {dialect.version} does not list replications without a document. Set persistent: true, or continuous: false",
        )
    if job is None or restart:
        yield Change(
            action="create",
            what="replication",
            path=(each.label,),
            before=None,
            after=shown,
            call=Replications.send_replication,
            arguments={"document": document},
            stage=2 if rotates else int(restart),
        )


def _of_document(each: Replication, replicator: str, observed: Observed) -> t.Iterator[Change]:
    current, path = observed.documents[each.label], (each.label,)
    wanted = each.document(observed.here) if each.present else None
    is_same = current is wanted is None or bool(current and wanted and rules.same(current, wanted))
    # What is over as declared logs in no more.
    rotates = _rotates(observed, current, wanted) and not (is_same and rules.is_over(current or {}))
    restart = current is not None and wanted is not None and each.restarts(_state(each, observed)["state"])
    restart = restart or rotates
    if is_same and not restart:
        return
    before = current and rules.shown_document(current)
    # Writing an unchanged document starts nothing; deleting and creating it does.
    anew = restart or (current is not None and rules.is_locked(current, observed.here.dialect))
    if current is not None and (wanted is None or anew):
        # A conflicting revision that stayed would become the document, and be carried out.
        for rev in (current["_rev"], *current.get("_conflicts", ())):
            yield Change(
                action="delete",
                what="replication",
                path=path,
                before=before,
                after=None,
                call=Database.delete,
                arguments={"document": current["_id"], "rev": rev},
                database=replicator,
            )
    if wanted is None:
        return
    action, after = "update", rules.shown_document(wanted)
    kept_names = ("owner",) if rotates else () if anew else ("_rev", "owner")
    kept = {name: value for name, value in (current or {}).items() if name in kept_names}
    if current is None or anew:
        action, before = "create", None
    yield Change(
        action=action,
        what="replication",
        path=path,
        before=before,
        after=after,
        call=Database.put_document,
        arguments={"document": {"_id": each.label, **kept, **wanted}},
        database=replicator,
        stage=2 if rotates else int(anew),
    )


def _job(each: Replication, observed: Observed) -> dict[str, t.Any] | None:
    """The job without a document that fits a replication."""
    document = each.document(observed.here)
    return next((job for job in observed.jobs or [] if rules.fits_job(document, job)), None)


def _state(each: Replication, observed: Observed) -> dict[str, t.Any]:
    """The state of a replication."""
    if each.persistent:
        return observed.states.get(each.label, rules.NOTHING)
    return _job(each, observed) or rules.GONE


def _is_old(each: Replication, first: Observed, observed: Observed) -> bool:
    """Whether the server still reports the old state of a changed document."""
    if not each.persistent or first.documents[each.label] == observed.documents[each.label]:
        return False
    return first.states.get(each.label) == observed.states.get(each.label)


def _reported(each: Replication, observed: Observed, copied: dict[str, t.Any] | None) -> dict[str, t.Any]:
    if each.persistent:
        document, state = observed.documents[each.label], _state(each, observed)
    elif each.present and not each.continuous:
        done = {**rules.NOTHING, "state": "completed", "info": copied}
        document, state = each.document(observed.here), done if copied else rules.NOTHING
    else:
        job = _job(each, observed)
        document, state = (each.document(observed.here), job) if job else (None, rules.NOTHING)
    return {
        "name": each.name,
        "exists": bool(document) and (each.persistent or each.continuous or not each.present),
        "state": state["state"],
        "source": rules.shown_end(document["source"]) if document else None,
        "target": rules.shown_end(document["target"]) if document else None,
        "info": rules.shown_info(state["info"]),
    }


RESOURCE = Resource(
    desire,
    observe,
    report,
    plan,
    wait,
    secrets,
    client=Replications,
    options=ARGUMENT_SPEC,
    constraints={"mutually_exclusive": [(name, "replications") for name in _REPLICATION if name not in _INHERITED]},
)
