# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Counts the cases that the tests try, for the report at the end."""

from __future__ import annotations

from collections import Counter

TRIED: Counter[str] = Counter()
"""Kind of case → how many were tried."""
