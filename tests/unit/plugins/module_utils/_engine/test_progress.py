# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file in which a module on a host writes what it waits for."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.couchpy.couchdb.plugins.module_utils._engine import progress
from ansible_collections.couchpy.couchdb.plugins.plugin_utils import _progress


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress, "FOLDER", str(tmp_path))
    name = _progress.new_name()
    monkeypatch.setenv(progress.VARIABLE, name)
    return tmp_path / name


def test_the_file_has_the_last_state_for_its_user_alone(path: Path) -> None:
    file = progress.requested()
    assert file is not None
    file.progress("the views", "", 0)
    assert not path.exists(), "nothing is lacking"
    file.progress("the views", "its copies still lack 1200 updates", 5)
    file.progress("the views", "1 update", 7.5)
    assert json.loads(path.read_text()) == ["the views", "1 update", 7.5]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file._remove()
    assert not path.exists()


def test_a_file_of_somebody_else_is_left_alone(path: Path, tmp_path: Path) -> None:
    file = progress.requested()
    assert file is not None
    path.symlink_to(tmp_path / "other")
    file.progress("the views", "70 %", 5)
    assert not (tmp_path / "other").exists()
    path.unlink()
    path.write_text("theirs")
    file.progress("the views", "80 %", 6)
    assert path.read_text() == "theirs"


@pytest.mark.parametrize("name", ["", "../couchpy-progress-" + "0" * 32, "couchpy-progress-0/../x", "other"])
def test_no_other_file_is_written(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(progress.VARIABLE, name)
    assert progress.requested() is None
