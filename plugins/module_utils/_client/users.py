# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users: the users of a server, by their names."""

from __future__ import annotations

import typing as t

from .. import errors
from .._rules.dialect import LOCAL
from .._rules.users import PREFIX
from .admins import Admins
from .databases import Databases
from .server import Headers


class Users(Admins, Databases):
    """The part of Client for users."""

    def user_settings(self, node: str = LOCAL) -> tuple[str, dict[str, t.Any]]:
        """The database of users, and how new passwords are hashed, C(prf) and C(iterations).

        By a node's settings, where these may be read.
        """
        try:
            settings = self.config(node=node)
        except (errors.Unauthorized, errors.Forbidden):
            settings = {}
        return self.dialect.authentication_database(settings), self.dialect.hashing(settings)

    def users(
        self, names: t.Sequence[str], hthdrs: Headers = None, *, database: str = "_users", conflicts: bool = False
    ) -> dict[str, dict[str, t.Any] | None]:
        """The documents of these users by name, read together; None for those that don't exist.

        ``database`` is the one that the server looks for users in. With ``conflicts``, a document tells its conflicting
        revisions in C(_conflicts). Raises NotFound, saying what to do, when the database is missing.

        https://docs.couchdb.org/en/stable/intro/security.html#authentication-database
        """
        ids = [PREFIX + name for name in names]
        try:
            found = self.Database(database).bulk_get(ids, hthdrs, conflicts=conflicts)
        except errors.NotFound as error:
            raise error.reworded(
                f"the server has no database {database}, which holds its users: set the server up, or create it with "
                "couchdb_database",
                errors.NotFound,
            ) from None
        return {name: found[docid] for name, docid in zip(names, ids)}
