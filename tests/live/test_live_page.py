"""The page of the live view in a real Chromium."""

import os
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from live.servers import ROOT, serve
from live.test_watched import ask, read_to_the_end, wait_for

AXE = ROOT / ".cache/npm/axe-core@4.14.1/node_modules/axe-core/axe.min.js"
DESKTOP, PHONE = (1280, 800), (390, 844)

# Where to keep pictures of the page, for people to look at.
PICTURES = os.environ.get("PICTURES")


@pytest.fixture(scope="module")
def server():
    with serve("gunicorn gthread", "watched:flask") as server:
        yield server


@pytest.fixture
def open_page(browser, server):
    """Opens the page; at the end it must have had no errors."""
    with ExitStack() as contexts:
        errors = []

        def open_page(size=DESKTOP, **options):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                bypass_csp="axe" in options,
                color_scheme=options.get("color_scheme", "light"),
            )
            contexts.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            page.on(
                "request",
                lambda request: (
                    errors.append(request.url)
                    if not request.url.startswith((server.url, "data:"))
                    else None
                ),
            )
            page.goto(server.url + "/-/streams")
            assert page.url == server.url + "/-/streams/"
            return page

        yield open_page
        assert errors == []


@pytest.fixture
def streams(server):
    """A stream that waits for its source, one that runs, and one that is complete."""
    with ExitStack() as connections:

        def stream(path):
            sock = connections.enter_context(ask(server, path))
            assert sock.recv(1 << 16)
            return sock

        n = stream.count = getattr(stream, "count", 0) + 1
        unique = f"{os.getpid()}-{id(connections)}"
        names = {kind: f"{kind}-{unique}-{n}" for kind in ("stuck", "runs", "done")}
        socks = {
            "stuck": stream(f"/slow?n=2&gap=300&_stream={names['stuck']}"),
            "runs": stream(f"/endless?_stream={names['runs']}"),
            "done": stream(f"/rows?n=3&_stream={names['done']}"),
        }
        wait_for(server, names["stuck"], "waiting for the source")
        wait_for(server, names["done"], "complete")
        yield names, socks
        for name in names.values():
            end(server, name)


def end(server, name):
    from urllib.error import HTTPError

    from live.test_watched import cancel

    try:
        cancel(server, name)
    except HTTPError as error:
        assert error.code == 404


def row(page, name):
    return page.locator("tbody tr", has_text=name)


def test_the_page_shows_streams_as_they_go(open_page, streams):
    names, socks = streams
    page = open_page()
    stuck, done = row(page, names["stuck"]), row(page, names["done"])
    stuck.locator("td", has_text="waiting for the source").wait_for()
    assert stuck.locator("th b").inner_text() == "/slow"
    assert done.locator(".state").inner_text() == "complete"
    assert done.locator("button").count() == 0
    assert int(page.locator("#running").inner_text()) >= 2
    before = stuck.locator("td[data-name=Age]").inner_text()
    page.wait_for_function(
        "([name, before]) => [...document.querySelectorAll('tbody tr')].some(row =>"
        " row.innerText.includes(name) && !row.innerText.includes(before))",
        arg=[names["stuck"], before],
    )


def test_a_stream_is_cancelled_by_keyboard_and_its_row_keeps_the_focus_until_then(
    open_page, streams
):
    names, socks = streams
    page = open_page()
    button = row(page, names["stuck"]).get_by_role("button")
    button.wait_for()
    assert button.get_attribute("aria-label") == f"Cancel /slow, stream {names['stuck']}"
    for _ in range(20):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    page.wait_for_timeout(2500)  # The list is shown anew twice.
    assert button.evaluate("button => button === document.activeElement")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.keyboard.press("Enter")
    assert asked == ["Cancel /slow? Its client gets a broken download."]
    page.wait_for_timeout(200)
    assert "waiting for the source" in row(page, names["stuck"]).inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    page.keyboard.press("Enter")
    row(page, names["stuck"]).locator(".state.cancelled").wait_for()
    assert not read_to_the_end(socks["stuck"]).endswith(b"0\r\n\r\n")
    assert row(page, names["stuck"]).get_by_role("button").count() == 0


def test_what_a_client_sends_is_text_on_the_page(open_page, server):
    name = "a-hostile-path"
    with ask(server, f"/rows?n=1&_stream={name}"):
        wait_for(server, name, "complete")
    page = open_page()
    page.route(
        "**/all.json",
        lambda route: route.fulfill(
            json={
                "streams": [
                    {
                        "id": "x" * 64,
                        "method": "GET",
                        "path": "/<img src=x onerror=alert(1)>" + "y" * 300,
                        "client": "<b>",
                        "format": "csv",
                        "rows": 10**12,
                        "bytes": 10**15,
                        "rows_per_s": 1.5,
                        "bytes_per_s": 0,
                        "state": "making",
                        "age_s": 90061.0,
                        "pid": 1,
                    }
                ]
            }
        ),
    )
    page.locator("tbody th b", has_text="<img src=x").wait_for()
    assert page.locator("tbody img").count() == 0
    text = row(page, "x" * 64).inner_text()
    assert "1,000,000,000,000" in text
    assert "1000 TB" in text
    assert "25 h 1 min" in text
    assert "0 B/s" in text


def test_the_page_says_when_there_is_nothing_to_see_and_when_it_cannot_see(open_page):
    page = open_page()
    page.route("**/all.json", lambda route: route.fulfill(json={"streams": []}))
    page.get_by_role("status").filter(has_text="No stream runs, and none ended").wait_for()
    page.unroute("**/all.json")
    page.route("**/all.json", lambda route: route.fulfill(json={}, status=200))
    page.get_by_role("status").filter(has_text="The streams cannot be seen now").wait_for()
    page.unroute("**/all.json")
    page.locator("#note:not(.bad)").wait_for(state="attached")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_the_page_fits_its_window(open_page, streams, size, scheme):
    names, _ = streams
    page = open_page(size, color_scheme=scheme, axe=True)
    row(page, names["done"]).wait_for()
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"live-{size[0]}-{scheme}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert AXE.exists(), "no axe-core here; `make test` installs it"
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert len(found["passes"]) > 10
    for button in page.locator("button").all():
        height = button.bounding_box()["height"]
        assert height >= (44 if size == PHONE else 24)
    assert re.search(r"\d", page.locator("#bytes-per-s").inner_text())
