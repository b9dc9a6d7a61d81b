# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replications: starts, stops, lists them, and waits for them."""

from __future__ import annotations

import contextlib
import typing as t

from .. import errors
from .._rules import replications as rules
from .._rules.urls import server_url
from .database import Database as _Database
from .monitoring import Monitoring
from .server import Headers
from .users import Users
from .wait import wait_until

_SCHEDULER_PAGE = 1000

_STOPPING = 60.0
"""For how many seconds a replication may run after its document is deleted."""


class Replications(Users, Monitoring):
    """The part of Client for replications."""

    def endpoint_server(self, server: rules.EndpointServer) -> Replications:
        """The client of a server that replications log in to, as its server admin.

        With this one's options, but not with its headers or cookie. The same object for the same server.
        """
        name = f"{server.username}@{server.url}"
        if name not in self._others:
            login: dict[str, t.Any] = {
                "username": server.username,
                "password": server.password,
                "cookie": None,
                "headers": {},
            }
            self._others[name] = type(self)(server.url, config={**self._config, **login})
        return t.cast("Replications", self._others[name])

    def put_endpoint_user(
        self,
        server: rules.EndpointServer,
        database: str,
        document: t.Mapping[str, t.Any],
        stopped: t.Collection[str],
    ) -> str:
        """Write the document of a user on a server that replications log in to. Gives the new revision.

        Waits first until the replications of the documents C(stopped), which are deleted, have ended: CouchDB stops them
        later than it answers, and they would log in with the old password. Raises TimedOut, with the user as it was, if they
        don't end.

        https://docs.couchdb.org/en/stable/intro/security.html#users-documents
        """

        def look() -> str:
            jobs = self._scheduled("jobs") if self.dialect.has_scheduler else self._replication_tasks()
            return errors.listed(sorted({job["doc_id"] for job in jobs if job.get("doc_id") in stopped}))

        try:
            running = wait_until(look, _STOPPING, "the end of replications", self.progress) if stopped else ""
            if running:
                raise errors.TimedOut(
                    f"the replications {running} still run {_STOPPING:g} s after their documents were deleted. Run the task again"
                )
        except errors.Unreachable as error:
            # The user is not written yet.
            error.sent = False
            raise
        return self.endpoint_server(server).Database(database).put_document(document)

    def replications(self, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """All replications of the server, with and without documents.

        A dict each: C(name) (of the document, None without one), C(database) of the document, C(state),
        C(source), C(target), C(info). For server admins.

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-docs
        """
        if not self.dialect.has_scheduler:
            rows = self.Database("_replicator").all_docs(include_docs=True, hthdrs=hthdrs)
            documents = [row["doc"] for row in rows if not row["id"].startswith("_design/")]
            return [_replication(document["_id"], "_replicator", document) for document in documents]
        found = []
        for kind in ("docs", "jobs"):
            found += [
                _replication(row["doc_id"], row["database"], row)
                for row in self._scheduled(kind, hthdrs=hthdrs)
                if kind == "docs" or not row["doc_id"]
            ]
        return found

    def _scheduled(self, kind: str, *replicator: str, hthdrs: Headers = None) -> list[dict[str, t.Any]]:
        """The rows of C(_scheduler/docs), those of one replicator database or all, or of C(_scheduler/jobs)."""
        found: list[dict[str, t.Any]] = []
        while True:
            query = {"limit": _SCHEDULER_PAGE, "skip": len(found)}
            page = self.request("GET", ("_scheduler", kind, *replicator), query=query, hthdrs=hthdrs).body
            found += page[kind]
            if not page[kind] or len(found) >= page["total_rows"]:
                return found

    def replication_documents(self, replicator: str, names: t.Sequence[str]) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these replications by name, read in one request; None for missing ones.

        A document lists its conflicting revisions in C(_conflicts). Raises NotFound, saying what to do, if the replicator database is missing.

        https://docs.couchdb.org/en/stable/replication/replicator.html
        """
        try:
            return self.Database(replicator).bulk_get(names, conflicts=True)
        except errors.NotFound as error:
            raise error.reworded(
                f"the server has no database {replicator} for its replications. Set up the server, or create it "
                "with couchdb_database",
                errors.NotFound,
            ) from None

    def replication_states(self, replicator: str, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """The states of the replications of a replicator database, by the names of their documents.

        A dict each: C(state), None until the server has started it, C(info), C(id) of the job, C(start_time). Takes one request
        for each thousand replications of the database.

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-docs-replicator-db
        """
        rows: dict[str, t.Any] = {}
        if names and not self.dialect.has_scheduler:
            rows = {name: document or {} for name, document in self.replication_documents(replicator, names).items()}
        elif len(names) == 1:
            # A replication that was just deleted has no state.
            with contextlib.suppress(errors.NotFound):
                rows[names[0]] = self.request("GET", ("_scheduler", "docs", replicator, names[0])).body
        elif names:
            rows = {row["doc_id"]: row for row in self._scheduled("docs", replicator)}
        return {name: rules.state(rows.get(name, {})) for name in names}

    def await_replications(
        self,
        ask: t.Callable[[], t.Mapping[str, t.Mapping[str, t.Any]]],
        continuous: t.Mapping[str, bool],
        timeout: float,
    ) -> None:
        """Wait until each replication is completed or, if it is continuous, has begun to copy.

        ``ask`` returns their states by name, as replication_states does.

        Raises a CouchDBError with CouchDB's reason for those that are crashing or failed, or that have not reached this
        after ``timeout`` seconds.
        """
        rows: dict[str, t.Mapping[str, t.Any]] = {}
        late: list[str] = []

        def look() -> str:
            rows.update(ask())
            # Read only if it matters: a state doesn't show whether a replication has reached its ends.
            doubtful = any(row["state"] == "running" and not row["info"] for row in rows.values())
            started = self.started_replications() if doubtful else ()
            verdicts = {name: rules.verdict(row, continuous[name], started) for name, row in rows.items()}
            broken = [name for name, verdict in verdicts.items() if verdict == "broken"]
            if broken:
                raise rules.problem({name: rows[name] for name in broken}, None)
            late[:] = [name for name, verdict in verdicts.items() if verdict == "open"]
            return errors.listed([f"{name}: {rows[name]['state']}" for name in late])

        if wait_until(look, timeout, "the replications", self.progress):
            raise rules.problem({name: rows[name] for name in late}, timeout)

    def replication_jobs(self) -> list[dict[str, t.Any]] | None:
        """The replications that run without a document: C(id), C(source), C(target), C(continuous), C(state), C(info).

        None on PouchDB Server, which does not list them. On CouchDB before 2.1 those that have reached their ends.

        https://docs.couchdb.org/en/stable/api/server/common.html#scheduler-jobs
        """
        if self.dialect.has_scheduler:
            jobs = [row for row in self._scheduled("jobs") if not row["doc_id"]]
            return [{**_job(row, row["id"]), "state": "running"} for row in jobs]
        if self.dialect.product != "CouchDB":
            return None
        tasks = [task for task in self._replication_tasks() if not task.get("doc_id")]
        return [{**_job(task, task["replication_id"]), "state": "running", "info": task} for task in tasks]

    def _replication_tasks(self) -> list[dict[str, t.Any]]:
        return [task for task in self.active_tasks() if task.get("type") == "replication"]

    def started_replications(self) -> set[str]:
        """The ids of the jobs that have reached both their ends.

        https://docs.couchdb.org/en/stable/api/server/common.html#active-tasks
        """
        return {str(task.get("replication_id")) for task in self._replication_tasks()}

    def replicate(
        self,
        source: str | _Database | t.Mapping[str, t.Any],
        target: str | _Database | t.Mapping[str, t.Any],
        hthdrs: Headers = None,
        timeout: float | None = None,
        **options: t.Any,
    ) -> dict[str, t.Any]:
        """Start, configure or stop a replication that runs until the server restarts.

        ``source`` and ``target``: a database of this server (its name, or the Database), an http(s)
        URL, or an object with C(url) and C(headers) or C(auth), like CouchDB's, or with C(username) and C(password). They are
        sent as this version of CouchDB needs them. Options: ``cancel`` (stop the one that was started
        with the same other arguments), ``continuous``, ``create_target``, ``doc_ids`` (a list),
        ``proxy`` (its URL), and any other that CouchDB knows, such as ``selector``.

        Without C(continuous), this returns the history once everything is copied:
        after ``timeout`` seconds at most, the client's if not set. With it, C({"ok": True, "_local_id": ...}) at once. Raises
        NotFound if there is none to cancel, InvalidInput for endpoints of another kind.

        https://docs.couchdb.org/en/stable/api/server/common.html#replicate
        """
        ends = {
            option: end.name if isinstance(end, _Database) else end
            for option, end in (("source", source), ("target", target))
        }
        parts = {option: rules.endpoint(end, option) for option, end in ends.items()}
        here = self.replication_here()
        written = {option: rules.written_endpoint(end, here, option, lasting=False) for option, end in parts.items()}
        return self.send_replication({**written, **options}, timeout, hthdrs)

    def replicate_once(self, document: t.Mapping[str, t.Any], timeout: float) -> dict[str, t.Any]:
        """Copy all changes, and return their numbers: C(docs_read), C(docs_written), C(doc_write_failures).

        Raises TimedOut after ``timeout`` seconds; the server may continue with it.
        """
        try:
            return rules.copied(self.send_replication(document, timeout))
        except errors.TimedOut as error:
            raise errors.TimedOut(
                f"{error}, which is wait_timeout. The server may continue with the replication",
                method=error.method,
                url=error.url,
            ) from error

    def cancel_replication(self, document: t.Mapping[str, t.Any]) -> dict[str, bool]:
        """Stop a replication without a document. C(cancelled) is whether it was running.

        https://docs.couchdb.org/en/stable/api/server/common.html#canceling-replication
        """
        try:
            self.send_replication({**document, "cancel": True})
        except errors.NotFound:
            return {"cancelled": False}
        return {"cancelled": True}

    def send_replication(
        self, document: t.Mapping[str, t.Any], timeout: float | None = None, hthdrs: Headers = None
    ) -> dict[str, t.Any]:
        """Start, configure or stop a replication from its document: see replicate().

        https://docs.couchdb.org/en/stable/api/server/common.html#replicate
        """
        body = {name: value for name, value in document.items() if value is not None and value is not False}
        path = ("_replicate",)
        answer = self.request("POST", path, body=body, hthdrs=hthdrs, repeatable=False, timeout=timeout)
        return t.cast("dict[str, t.Any]", answer.body)

    def replication_here(self, local_url: str | None = None) -> rules.Here:
        """This server as its own replications reach it: at ``local_url``, or at this client's URL.

        Raises InvalidInput, naming C(local_url), for anything but a URL without a login.
        """
        url, username, password = self.url, self._http.username, self._http.password
        if local_url is not None:
            given = server_url(local_url, "local_url")
            if given.username or given.password:
                raise errors.InvalidInput(
                    "local_url", "contains a login. Remove it: replications use the login of the task"
                )
            url = given.plain
        headers = {name: value for name, value in self._http.headers.items() if name.lower() == "authorization"}
        if headers:
            username = password = None
        elif self._http.cookie:
            headers = {"Cookie": self._http.cookie if "=" in self._http.cookie else f"AuthSession={self._http.cookie}"}
        return rules.Here(self.dialect, url, username, password, headers)


def _replication(name: str | None, database: str | None, row: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": name,
        "database": database,
        "state": row.get("state", row.get("_replication_state", "running" if name is None else None)),
        "source": row.get("source"),
        "target": row.get("target"),
        "info": row.get("info", row.get("_replication_stats")),
    }


def _job(row: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    shown = {field: row.get(field) for field in ("source", "target", "info", "start_time")}
    return {"id": name, **shown, "continuous": "+continuous" in name or bool(row.get("continuous"))}
