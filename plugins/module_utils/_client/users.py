# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users: the users of a server, by their names."""

from __future__ import annotations

import typing as t

from .. import errors
from .._rules.users import PREFIX
from .admins import Admins
from .databases import Databases
from .server import Headers


class Users(Admins, Databases):
    """The part of Client for users."""

    def users(self, names: t.Sequence[str], hthdrs: Headers = None) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these users by name, read together; None for those that are not there.

        Raises NotFound, saying what to do, when the server has no database C(_users).

        https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
        """
        ids = [PREFIX + name for name in names]
        try:
            found = self.Database("_users").bulk_get(ids, hthdrs)
        except errors.NotFound as error:
            raise error.reworded(
                "the server has no database _users, which holds its users: set the server up, or create it with couchdb_database",
                errors.NotFound,
            ) from None
        return {name: found[docid] for name, docid in zip(names, ids)}
