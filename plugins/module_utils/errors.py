# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors: one exception for each problem that a caller may want to catch. Public.

The collection raises only :class:`CouchDBError`. Errors from an answer of the
server have its HTTP status and the C(error) and C(reason) of its JSON body, as described on
https://docs.couchdb.org/en/stable/json-structure.html#couchdb-error-status and
https://docs.couchdb.org/en/stable/api/basics.html#http-status-codes.

No message contains a secret: URLs are shown without credentials.
"""

from __future__ import annotations

import re
import typing as t

_LISTED = 10
"""The most names in one message."""


def listed(names: t.Sequence[str], separator: str = ", ") -> str:
    """Names as a message lists them: the first ones, and the number of the others."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return separator.join(names[:_LISTED]) + more


class CouchDBError(Exception):
    """Base of all errors of this collection.

    Attributes: ``status`` (HTTP status as int, None without an answer), ``error``
    and ``reason`` (from the server's JSON answer, or None), ``method`` and ``url`` of the
    request (the URL is without credentials).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error: str | None = None,
        reason: str | None = None,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.reason = reason
        self.method = method
        self.url = url

    @property
    def unsure(self) -> bool:
        """Whether the request may have succeeded all the same."""
        return False

    @property
    def changed(self) -> bool:
        """Whether the request has changed something, although it failed in the end."""
        return False

    def reworded(self, message: str, kind: type[CouchDBError]) -> CouchDBError:
        """The server's answer as an error of that kind with another message."""
        answer = {name: getattr(self, name) for name in ("status", "error", "reason", "method", "url")}
        return kind(message, **answer)


class InvalidInput(CouchDBError):
    """A value that can't work, found before anything was sent. ``option`` is the name of its option, ``problem`` what is wrong."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem

    def __reduce__(self) -> t.Any:
        return type(self), (self.option, self.problem)


class Unsupported(CouchDBError):
    """This version of CouchDB lacks the feature."""


class Unreachable(CouchDBError):
    """No answer: refused, reset, not resolved, TLS not trusted, or too late.

    ``sent`` says whether the request may have reached the server all the same.
    """

    sent = True

    @property
    def unsure(self) -> bool:
        return self.sent


class TimedOut(Unreachable):
    """The answer did not come, or did not end, within the timeout."""


class NotCouchDB(CouchDBError):
    """The server at the URL is not CouchDB, or a proxy answered."""

    @property
    def unsure(self) -> bool:
        return self.status is not None and self.status < 300


class TooLarge(CouchDBError):
    """The answer is larger than the limit that is read into memory."""

    @property
    def unsure(self) -> bool:
        return True


class BadRequest(CouchDBError):
    """400: the server could not understand the request."""


class Unauthorized(CouchDBError):
    """401: the credentials are missing or wrong, or are not an admin's."""


class Forbidden(CouchDBError):
    """403: refused, or the account is locked after too many failed logins."""


class NotFound(CouchDBError):
    """404: no such database, document, setting or node."""


class NodeDown(NotFound):
    """404 or 412: the cluster has no such node, or is not connected with it. 500: the node is just going down or starting.

    ``in_check_mode`` is the message if nothing was done, where that is another. ``down`` names the nodes.
    """

    in_check_mode: str | None = None
    down = ""


class LogLevelLost(CouchDBError):
    """A secret was set, and the node's log level could not be restored. Its next start restores it."""

    @property
    def changed(self) -> bool:
        return True


class RestartFailed(CouchDBError):
    """A node was not restarted, or was not up again in time, or its cluster was not in sync.

    ``asked`` says whether the node was asked to restart.
    """

    def __init__(self, message: str, *, asked: bool = False, **fields: t.Any) -> None:
        super().__init__(message, **fields)
        self.asked = asked

    @property
    def changed(self) -> bool:
        return self.asked


class NotConnected(CouchDBError):
    """A member of the cluster did not connect with the others in time."""


class NotInSync(CouchDBError):
    """Copies of shards were not in sync in time, or nodes did not agree on their placement."""


class ReshardFailed(CouchDBError):
    """The shards of a database were not split: CouchDB refused, a job failed, or made no progress."""


class Conflict(CouchDBError):
    """409: another client changed the document at the same time."""


class AlreadyExists(CouchDBError):
    """412: the database exists already."""


class TooManyRequests(CouchDBError):
    """429: the server, or a proxy, accepts no more requests for now."""


class ServerError(CouchDBError):
    """5xx: the server, or a proxy, failed."""

    @property
    def unsure(self) -> bool:
        # A proxy returns it for a server whose answer it has not received; and what no majority has confirmed may be on some nodes.
        return self.status in (502, 503, 504) or "no_majority" in (self.error, self.reason)


class CommitFailed(CouchDBError):
    """Some documents of a commit were refused; the others are written.

    ``written`` and ``refused`` are lists of dicts with ``database``, ``id`` and either ``rev`` or
    ``error`` and ``reason``. A refused document keeps its changes, so that it can be corrected and committed again.
    """

    def __init__(self, written: list[dict[str, str]], refused: list[dict[str, str]]) -> None:
        rows = [f"{row['database']}/{row['id']} ({row['error']}: {row['reason']})" for row in refused]
        super().__init__(f"{len(refused)} documents were refused: {listed(rows)}; {len(written)} were written")
        self.written = written
        self.refused = refused

    def __reduce__(self) -> t.Any:
        return type(self), (self.written, self.refused)


_BY_STATUS: dict[int, type[CouchDBError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
}


_GOING_OR_COMING = re.compile(r"\{badrpc,\s*(nodedown\b|\{'EXIT',\s*\{(noproc|shutdown)\b)")
"""The answer of a node for another whose processes have ended, or have not started."""


def of_answer(status: int, error: str | None = None, reason: str | None = None) -> type[CouchDBError]:
    """The exception class for an HTTP status of 300 or more and the error and reason of the answer."""
    if error == "nodedown" or (status == 404 and reason and reason.startswith("no such node")):
        return NodeDown
    if status == 500 and reason and _GOING_OR_COMING.match(reason):
        return NodeDown
    if status == 412 and error == "file_exists":
        return AlreadyExists
    if status >= 500:
        return ServerError
    return _BY_STATUS.get(status, CouchDBError)


def of_row(row: t.Mapping[str, t.Any]) -> CouchDBError | None:
    """The error in a row of C(_bulk_docs), None for a document that was written."""
    if "error" not in row:
        return None
    error, reason = str(row["error"]), str(row.get("reason") or "")
    status = {"conflict": 409, "forbidden": 403, "unauthorized": 401, "not_found": 404}.get(error)
    kind = _BY_STATUS.get(status or 0, CouchDBError)
    return kind(
        f"the document {row.get('id')} was refused: {error}: {reason}", status=status, error=error, reason=reason
    )


def describe(error: CouchDBError) -> dict[str, t.Any]:
    """The values that a playbook may check: C(status), C(error) and C(reason), without those that are None."""
    fields = {"status": error.status, "error": error.error, "reason": error.reason}
    return {name: value for name, value in fields.items() if value is not None}
