"""The example's page in a real Chromium."""

import csv
import unicodedata
from urllib.request import urlopen

import pytest
from helpers import encode
from test_filenames import NAMES

from unspool.headers import content_disposition


def test_the_three_ways_stream_on_the_page_with_live_progress(example, page):
    page.goto(example.url + "/")
    page.evaluate("document.querySelector('button').dataset.url = '/flights.csv?rows=3000000'")
    page.evaluate("document.querySelector('button').dataset.rows = 3000000")
    first, second, third, _ = page.query_selector_all("section")

    first.query_selector("button").click()
    page.wait_for_function("document.querySelector('output b')?.textContent.length > 1")
    assert "Complete" not in first.inner_text()
    page.wait_for_function(
        "document.querySelector('output').innerText.includes('Complete')", timeout=180_000
    )
    assert "3,000,000 rows" in first.inner_text()

    second.query_selector("button").click()
    page.wait_for_function(
        "document.querySelectorAll('output')[1].innerText.includes('Complete')", timeout=180_000
    )
    assert "100,000 rows" in second.inner_text()

    third.query_selector("button").click()
    frame = page.frame_locator("iframe")
    frame.get_by_text("2 s later").wait_for()
    assert frame.get_by_text("Done.").count() == 0
    frame.get_by_text("Done.").wait_for()


def test_a_stream_can_be_stopped_on_the_page(example, page):
    page.goto(example.url + "/")
    button = page.query_selector("button")
    button.click()
    page.wait_for_function("document.querySelector('output b')?.textContent.length > 3")
    button.click()
    page.wait_for_function("document.querySelector('output').innerText.includes('Stopped')")


def test_the_browser_downloads_the_file_under_its_name(example, page, tmp_path):
    page.goto(example.url + "/")
    page.evaluate("document.querySelector('a').href = '/flights.csv?rows=50000'")
    with page.expect_download() as download:
        page.click("a >> nth=0")
    assert download.value.suggested_filename == "flights.csv"
    download.value.save_as(tmp_path / "flights.csv")
    with (tmp_path / "flights.csv").open(newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 50_001


def test_the_browser_saves_under_every_name(gunicorn, page):
    """As `browser-download-filename` says: Chromium itself puts "_" for what no file may have."""
    from browser_download_filename import suggested_filename

    page.goto(gunicorn.url + "/blank")
    for name in NAMES:
        with page.expect_download() as download:
            page.evaluate("name => { location = '/named?name=' + encodeURIComponent(name) }", name)
        expected = name if "." in name else name + ".csv"
        value = content_disposition(expected)
        assert download.value.suggested_filename == suggested_filename(
            content_disposition=value, platform="posix"
        )
        if not set(name) & set("\"%*?|~'`") and not name.startswith((".", "\u200b")):
            assert download.value.suggested_filename == unicodedata.normalize("NFC", expected)
        assert download.value.path().read_bytes() == b"n,t\r\n1,a\r\n"


@pytest.mark.parametrize("path", ["/slow-table", "/compressed-slow-table"])
def test_the_first_rows_of_a_table_show_while_its_source_is_stuck(gunicorn, page, path):
    response = page.goto(gunicorn.url + path, wait_until="commit")
    compressed = response.headers.get("content-encoding")
    assert compressed == ("zstd" if path == "/compressed-slow-table" else None)
    page.get_by_text("row 2").wait_for()
    assert page.get_by_text("row 3").count() == 0
    urlopen(gunicorn.url + "/open", timeout=30).close()
    page.get_by_text("row 5").wait_for()
    assert page.locator("tr").count() == 6


def test_a_long_table_arrives_whole(example, page):
    page.goto(example.url + "/flights.html?rows=20000", wait_until="commit")
    page.get_by_text("That was all of it.").wait_for(timeout=60_000)
    assert page.locator("tbody tr").count() == 20_000


def test_event_source_reads_events_back_and_comes_back_after_a_failure(gunicorn, page):
    page.goto(gunicorn.url + "/blank")
    log = page.evaluate(
        """() => new Promise((done) => {
            const log = [], source = new EventSource("/events")
            source.onmessage = (e) => log.push([e.lastEventId, JSON.parse(e.data)])
            source.onerror = () => log.push("error")
            source.addEventListener("hello", (e) => log.push(e.data))
            source.addEventListener("end", (e) => { source.close(); done([...log, JSON.parse(e.data)]) })
        })"""
    )
    rows = [[str(n), {"n": n, "text": "é\n"}] for n in range(7)]
    assert log == [
        "first line\nsecond, after 0",
        *rows[1:4],
        "error",
        "first line\nsecond, after 3",
        *rows[4:],
        {"rows": 4},
    ]


def test_the_dashboard_fills_pane_by_pane_without_javascript(example, browser):
    with urlopen(example.url + "/dashboard?rows=200", timeout=60) as answer:
        html = answer.read()
    assert html.index(b"<footer") < html.rindex(b"<template for")
    page = browser.new_page(java_script_enabled=False)
    page.goto(example.url + "/dashboard?rows=200", wait_until="commit")
    page.locator("footer").wait_for()
    assert page.locator("#rows tbody tr").count() == 200
    page.locator(".failed").wait_for()
    page.wait_for_load_state("load")
    assert page.locator(".wait").count() == 0
    assert (
        page.locator(".failed").inner_text() == "There is no weather: CatalogException. Try again"
    )
    assert page.locator("section:first-child tr").first.inner_text().split() == [
        "JFK",
        "→",
        "LAX",
        "11,262",
    ]
    assert page.locator(".bars div").count() == 12
    assert page.locator("#log li").count() == 12
    page.close()


def test_a_table_of_html_is_in_the_page_as_the_rows_have_it(page):
    rows = [("a<b>&amp;", "\"'"), ("", " two  spaces "), ("</td><script>", "é &lt;")]
    page.set_content(encode(rows, "html", ["x<", "y"]).decode())
    read = "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.textContent))"
    assert page.evaluate(read) == [["x<", "y"], *map(list, rows)]
    assert page.evaluate("document.compatMode") == "CSS1Compat"
