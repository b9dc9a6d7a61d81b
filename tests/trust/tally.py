# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)

"""Counts what the tests try, so that they can tell at their end."""

from __future__ import annotations

from collections import Counter

TRIED: Counter[str] = Counter()
"""What was tried, and how often."""
