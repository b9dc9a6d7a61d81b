# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of HTTP requests: their JSON, whether they have CouchDB's form, and their errors. Pure."""

from __future__ import annotations

import json
import re
import time
import typing as t
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from .. import errors
from .._rules.secrets import Secrets, mask_text, mask_url

STRANGER = "this is not a CouchDB server, or a proxy answered"


@dataclass(frozen=True)
class Answer:
    """What the server answered: ``status``, ``headers`` (names in any case), ``body`` (JSON value, string, bytes or None)."""

    status: int
    headers: t.Mapping[str, str]
    body: t.Any


class Received(t.NamedTuple):
    """An answer as it came, and the method and URL of its request."""

    method: str
    url: str
    status: int
    headers: t.Mapping[str, str]
    content: bytes

    def fields(self) -> dict[str, t.Any]:
        """The fields of its error."""
        return {"status": self.status, "method": self.method, "url": self.url}

    def __str__(self) -> str:
        return f"{self.method} {self.url} answered {self.status}"


def is_text(body: t.Any) -> bool:
    """Whether an answer is a string."""
    return isinstance(body, str)


def is_list(body: t.Any) -> bool:
    """Whether an answer is a list."""
    return isinstance(body, list)


def is_object(body: t.Any) -> bool:
    """Whether an answer is an object."""
    return isinstance(body, dict)


def is_ok(body: t.Any) -> bool:
    """Whether an answer says that the request succeeded."""
    return isinstance(body, dict) and body.get("ok") is True


def session_cookie(headers: t.Mapping[str, str]) -> str | None:
    """The C(AuthSession=...) that a Set-Cookie header sets, None if it sets none or clears it."""
    found = re.search(r"AuthSession=([^;,\s]+)", headers.get("Set-Cookie", ""))
    return f"AuthSession={found.group(1)}" if found else None


def parsed(answer: Received, text: bool) -> t.Any:
    """The body of a successful answer. Raises NotCouchDB if it is not JSON."""
    if answer.method == "HEAD" or not answer.content:
        return None
    if text:
        return answer.content.decode("utf-8", "replace")
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        message = f"{answer} with {_kind_of(answer)} instead of JSON: {STRANGER}"
        raise errors.NotCouchDB(message, **answer.fields()) from None


def not_as_expected(answer: Received) -> errors.NotCouchDB:
    """The error of a successful answer of another form than CouchDB's."""
    return errors.NotCouchDB(f"{answer} with other JSON than CouchDB does: {STRANGER}", **answer.fields())


def retry_after(headers: t.Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After header asks to wait, None without a valid one."""
    given = headers.get("Retry-After", "").strip()
    if re.match(r"[0-9]{1,9}\Z", given):
        return float(given)
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def error_of(answer: Received, secrets: Secrets) -> errors.CouchDBError:
    """The error of an answer with a status from 300 on, without ``secrets``, which a server may repeat."""
    status, known = answer.status, answer.fields()
    message = str(answer)
    if 300 <= status < 400:
        target = mask_url(answer.headers.get("Location", "nowhere"))
        return errors.NotCouchDB(
            f"{message}, a redirection to {target}. It is not followed, as it could send credentials elsewhere. "
            "Use the URL of the CouchDB server itself",
            **known,
        )
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        error = body.get("error") or body.get("name")
        reason = body.get("reason") or body.get("message")
        said_reason = reason if isinstance(reason, str) else json.dumps(reason)
        known["error"] = secrets.mask(mask_text(error)) if isinstance(error, str) else None
        known["reason"] = secrets.mask_message(mask_text(said_reason)) if reason else None
        said = ": ".join(known[part] for part in ("error", "reason") if known[part])
        return errors.of_answer(status, known["error"], known["reason"])(f"{message} {said}".rstrip(), **known)
    if answer.method == "HEAD" or not answer.content:
        return errors.of_answer(status)(message, **known)
    message += f" with {_kind_of(answer)} instead of JSON"
    if status in (401, 403) or status >= 500:
        return errors.of_answer(status)(message, **known)
    return errors.NotCouchDB(f"{message}: {STRANGER}", **known)


def _kind_of(answer: Received) -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return {"text/html": "an HTML page", "text/plain": "plain text"}.get(kind, kind or "something")
