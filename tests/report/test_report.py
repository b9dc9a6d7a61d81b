# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: its data fits the schema, and its page works in a browser, for all readers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import browser
import fleet
import jsonschema
import pytest
from ansible_collections.couchpy.couchdb.plugins.filter.report import report_html
from ansible_collections.couchpy.couchdb.plugins.module_utils._rules import report

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (ROOT / "playbooks" / "templates" / "report.html.j2").read_text()
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
CANARY = "c4n4ry"

pytestmark = pytest.mark.timeout(600)


def data(number: int, previous: Any = None) -> Any:
    return report.report(fleet.servers(number), fleet.AT, "Our servers", previous=previous)


@pytest.mark.parametrize("number", [0, 1, 200])
def test_the_data_fits_the_schema(number: int) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = json.loads(json.dumps(data(number)))
    jsonschema.validate(found, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "more": 1}, SCHEMA)


def test_the_page_is_one_file_without_secrets() -> None:
    found = data(12)
    page = report_html(found, TEMPLATE)
    for text in (page, json.dumps(found), report.markdown(found)):
        assert CANARY not in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page.replace("src=x", ""))
    assert "@import" not in page
    assert "url(" not in page
    assert page.count("<script>") == page.count("</script>") == 1


def open_page(chromium: Any, folder: Path, page: str, **context: Any) -> tuple[Any, list[str]]:
    """Open a page from a file; return the tab and the problems that its console shows."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    tab = chromium.new_page()
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("dialog", lambda dialog: (problems.append("a script of the data ran"), dialog.dismiss()))
    tab.on(
        "request",
        lambda request: problems.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    tab.emulate_media(**context)
    tab.goto(path.as_uri())
    return tab, problems


def slowness() -> float:
    """How many times longer things take than on an idle machine: the rest of its time goes to others."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < 0.3:
        sum(range(10000))
    return max(1.0, (time.monotonic() - wall) / (time.process_time() - cpu))


def names(tab: Any) -> list[str]:
    return [text.strip() for text in tab.locator("tr.server:visible > th > button").all_inner_texts()]


def test_two_hundred_servers_are_filtered_and_sorted(chromium: Any, tmp_path: Path) -> None:
    page = report_html(data(200), TEMPLATE)
    times = []
    for number in range(3):
        before = slowness()
        tab, problems = open_page(chromium, tmp_path, page)
        loaded = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
        times.append(loaded / max(before, slowness()))
        if number < 2:
            tab.close()
    print(f"{len(page) // 1024} KiB, loaded in {min(times):.2f} s")
    assert min(times) < 1
    assert len(names(tab)) == 200
    tab.get_by_label("Filter").fill("db04 3.3.3")
    assert names(tab) == ["db040.example.com", "db044.example.com", "db048.example.com"]
    assert tab.locator("#count").inner_text() == "3 of 200 servers"
    tab.get_by_label("Filter").fill("")
    tab.get_by_label("Show").select_option("failing")
    assert names(tab)[1:3] == ["db010.example.com", "db017.example.com"]
    tab.get_by_label("Show").select_option("")
    for column, first, last in (
        ("Version", "silent", "db199"),
        ("Health", "silent", "db198"),
        ("Server", fleet.HOSTILE[:5], "silent"),
    ):
        tab.get_by_role("columnheader", name=column, exact=True).get_by_role("button").click()
        assert names(tab)[0].startswith(first), (column, names(tab)[0])
        assert names(tab)[-1].startswith(last), (column, names(tab)[-1])
    tab.get_by_role("columnheader", name="Server", exact=True).get_by_role("button").click()
    assert names(tab)[0] == "silent"
    assert problems == []
    tab.close()


def test_it_works_with_the_keyboard_alone(chromium: Any, tmp_path: Path) -> None:
    tab, problems = open_page(chromium, tmp_path, report_html(data(12), TEMPLATE))
    reached = []
    for _press in range(30):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "silent":
            break
    assert reached[:3] == ["words", "kind", "Server"]
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert tab.get_by_text("no route to").is_visible()
    tab.keyboard.press("Space")
    assert not tab.get_by_text("no route to").is_visible()
    assert problems == []
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_it_has_no_fault_for_screen_readers(chromium: Any, tmp_path: Path, scheme: str, width: int) -> None:
    tab, problems = open_page(chromium, tmp_path, report_html(data(12), TEMPLATE), color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 900})
    for button in tab.locator("tr.server > th > button").all():
        button.click()
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # Not as a script of the page, which its own policy would refuse.
    tab.evaluate(browser.axe())
    found = tab.evaluate("axe.run()")
    assert [(fault["id"], [node["html"][:200] for node in fault["nodes"]][:3]) for fault in found["violations"]] == []
    assert found["passes"]
    assert problems == []
    tab.close()


def test_on_paper_the_servers_that_matter_are_open(chromium: Any, tmp_path: Path) -> None:
    tab, problems = open_page(chromium, tmp_path, report_html(data(12), TEMPLATE), media="print")
    assert tab.get_by_text("no route to").is_visible()
    assert not tab.locator(".controls").is_visible()
    opened = tab.locator("tr.detail:visible h2").all_inner_texts()
    assert "silent" in opened
    assert "db004.example.com" not in opened
    assert tab.get_by_role("columnheader", name="Last seen").is_visible()
    assert tab.locator("tr.detail.matters .sizes").first.is_visible()
    assert len(tab.pdf()) > 1000
    assert problems == []
    tab.close()


def test_on_paper_many_servers_leave_out_what_needs_nobody(chromium: Any, tmp_path: Path) -> None:
    tab, problems = open_page(chromium, tmp_path, report_html(data(21), TEMPLATE), media="print")
    assert tab.locator("tr.detail.matters .diff").first.is_visible()
    assert not tab.locator("tr.detail.matters .sizes").first.is_visible()
    assert problems == []
    tab.close()


def test_on_a_phone_both_sides_of_a_difference_are_below_each_other(chromium: Any, tmp_path: Path) -> None:
    tab, problems = open_page(chromium, tmp_path, report_html(data(12), TEMPLATE))
    tab.set_viewport_size({"width": 390, "height": 900})
    tab.get_by_role("button", name="db005.example.com").click()
    before, after = tab.get_by_text('"boss"').first, tab.get_by_text('"shop"').first
    assert before.is_visible()
    assert after.bounding_box()["y"] >= before.bounding_box()["y"] + before.bounding_box()["height"]
    assert after.bounding_box()["x"] == before.bounding_box()["x"]
    assert problems == []
    tab.close()


def test_without_scripts_everything_is_open(chromium: Any, tmp_path: Path) -> None:
    page = report_html(data(4), TEMPLATE)
    assert "<noscript><style>" in page
    assert len(re.findall(r'class="detail[^"]*"', page)) == 4
