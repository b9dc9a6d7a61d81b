# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the server one thing, without the modules that are tested, in the process that runs the task.

Options and results are those of ansible.builtin.uri, as far as the targets need them. That module takes a Python of its own for
each request; the targets send more than a thousand of them.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import urllib.error

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase

TIMEOUT_SECONDS = 30
OPTIONS = {
    "url",
    "method",
    "body",
    "body_format",
    "headers",
    "status_code",
    "url_username",
    "url_password",
    "force_basic_auth",
}


class ActionModule(ActionBase):
    """Sends a request; returns status, content, cookies, and json if the answer is that."""

    _supports_check_mode = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Send it; a status that is none of status_code, and no answer, fail."""
        result = super().run(tmp, task_vars)
        if result.get("skipped"):
            return result
        options = self._task.args
        if unknown := set(options) - OPTIONS:
            raise AnsibleActionFail(f"no option here: {', '.join(sorted(unknown))}")
        wanted = options.get("status_code", 200)
        wanted = [int(code) for code in (wanted if isinstance(wanted, list) else [wanted])]
        result.update(changed=False, url=options["url"], **ask(options))
        if result["status"] not in wanted:
            result["failed"] = True
            result.setdefault("msg", f"{options['url']} answered {result['status']}: {result['content']}")
        return result


def ask(options):
    """Send the request of the options; return what came of it."""
    headers = {str(name): str(value) for name, value in options.get("headers", {}).items()}
    body = options.get("body")
    if options.get("body_format") == "json":
        headers.setdefault("Content-Type", "application/json")
        body = body if isinstance(body, str) else json.dumps(body)
    cookies = http.cookiejar.CookieJar()
    try:
        answer = open_url(
            options["url"],
            method=options.get("method", "GET"),
            data=body,
            headers=headers,
            url_username=options.get("url_username"),
            url_password=options.get("url_password"),
            force_basic_auth=options.get("force_basic_auth", False),
            cookies=cookies,
            timeout=TIMEOUT_SECONDS,
        )
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        return {"status": -1, "content": "", "msg": f"{options['url']}: {error}"}
    content = to_text(answer.read(), errors="surrogate_or_strict")
    told = {"status": answer.code, "content": content, "cookies": {cookie.name: cookie.value for cookie in cookies}}
    with contextlib.suppress(ValueError):
        told["json"] = json.loads(content)
    return told
