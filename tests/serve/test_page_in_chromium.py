"""The pages as their users drive them, in Chromium."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import pandas
import pytest
from live.conftest import chromium
from live.servers import ROOT, Server, free_port, running
from live.test_pages import firefox
from serve.shop import NAMES, make

pytestmark = pytest.mark.live

AXE = ROOT / ".cache/npm/axe-core@4.14.1/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]


@contextmanager
def serve_shop(folder, *options):
    shop, port = make(folder / "shop.duckdb"), free_port()
    command = [sys.executable, "-m", "unspool", "serve", str(shop), "--port", str(port), *options]
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": "", "HOME": str(folder)}
    with running(command, port, folder, env, folder / "server.log") as process:
        yield Server(process, port, folder, {port})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve_shop(tmp_path_factory.mktemp("serve")) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(server, browser):
    """Opens a page; afterwards nothing may have gone wrong in it, or left this host."""
    contexts, faults = [], []

    def open_page(path, **options):
        context = browser.new_context(
            base_url=server.url, bypass_csp=options.pop("bypass_csp", False), **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security" in said.text else None,
        )
        context.on(
            "request",
            lambda asked: None if asked.url.startswith(server.url) else faults.append(asked.url),
        )
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def streams(page, **wanted):
    """What the live view knows of the streams that are like this."""
    known = page.request.get("/-/streams/all.json").json()["streams"]
    return [each for each in known if all(each[name] == value for name, value in wanted.items())]


def shown(page):
    return page.locator("#rows tbody tr").count()


def scroll(page):
    page.locator("#rows").evaluate("box => { box.scrollTop = box.scrollHeight }")


def scroll_to_end(page):
    """Scrolls until no more rows come."""
    end = page.locator("#end")
    deadline = time.monotonic() + 60
    while "Scroll for more" in end.inner_text():
        assert time.monotonic() < deadline
        scroll(page)
        page.wait_for_timeout(20)
    return end.inner_text()


def until(page, condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def is_clean(page):
    """That axe-core finds nothing to complain about."""
    page.evaluate("() => document.getAnimations().forEach(each => each.cancel())")
    page.evaluate("source => { window.axe || (0, eval)(source) }", AXE.read_text())
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", RULES)
    assert found["passes"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]


def held_back(page):
    """The stream of a preview that waits to be read on; it may go on for a while yet."""
    wanted = {"format": "ndjson", "state": "waiting for the client"}
    found = []
    until(page, lambda: found or found.extend(streams(page, **wanted)))
    return found[0]


def test_one_finds_a_table_filters_sorts_and_shares_the_url(open_page):
    page = open_page("/")
    page.get_by_label("Search tables and columns").fill("cust")
    assert page.locator(".tables h3:visible").all_inner_texts() == ["orders"]
    page.get_by_role("link", name="orders").click()
    page.get_by_label("Column of filter 1").select_option("customer")
    page.get_by_label("Value of filter 1").fill("Zoë")
    page.keyboard.press("Enter")
    page.wait_for_url("**/shop/orders/?customer__eq=Zo%C3%AB")
    page.get_by_text("5,000 rows").wait_for()
    page.get_by_role("button", name="total", exact=True).click()
    page.wait_for_url("**/shop/orders/?customer__eq=Zo%C3%AB&_sort=total%3Aasc")
    page.locator("th[aria-sort=ascending] button").click()
    page.wait_for_url("**/shop/orders/?customer__eq=Zo%C3%AB&_sort=total%3Adesc")
    first = "#rows tbody tr:first-child td:nth-child(2)"
    assert page.inner_text("#rows tbody tr:first-child td") == "19998"
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("total")
    shared = open_page(page.url)
    assert shared.inner_text("#rows tbody") == page.inner_text("#rows tbody")
    page.go_back()
    page.locator("th[aria-sort=ascending]").wait_for()
    page.go_back()
    until(page, lambda: page.locator("th[aria-sort]").count() == 0)
    page.go_back()
    page.wait_for_url("**/shop/orders/")
    page.get_by_text("20,000 rows").wait_for()
    assert page.inner_text(first) == "Ann"


def test_columns_are_chosen_without_leaving_the_page(open_page):
    page = open_page("/shop/orders/")
    page.evaluate("window.same = true")
    page.get_by_text("Columns 6 of 6").click()
    for name in ("customer", "big", "placed", "note"):
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**/shop/orders/?_column=id&_column=total")
    assert page.locator("#rows th button").all_inner_texts() == ["id", "total"]
    assert page.evaluate("window.same")


def test_rows_come_as_one_scrolls_and_the_server_is_held_back_in_between(open_page):
    page = open_page("/shop/heavy/")
    asked = []
    page.on(
        "request", lambda request: asked.append(request.url) if ".ndjson" in request.url else None
    )
    assert shown(page) == 50
    scroll(page)
    until(page, lambda: shown(page) > 100)
    stream = held_back(page)

    def made():
        return streams(page, id=stream["id"])[0]["rows"]

    until(page, lambda: made() == (time.sleep(1) or made()))
    [held] = streams(page, id=stream["id"])
    assert held["state"] == "waiting for the client" and shown(page) < held["rows"] < 2500
    before = shown(page)
    scroll(page)
    until(page, lambda: shown(page) > before)
    assert scroll_to_end(page) == "The preview ends here. Download to have all rows."
    assert page.locator("#rows tbody tr td:first-child").all_inner_texts() == list(
        map(str, range(shown(page)))
    )
    assert len(asked) == 1
    until(
        page,
        lambda: (
            not [each for each in streams(page, id=stream["id"]) if each["state"] != "disconnect"]
        ),
    )


def test_the_preview_ends_at_five_thousand_rows(open_page):
    page = open_page("/shop/orders/")
    assert scroll_to_end(page) == "The preview ends here. Download to have all rows."
    assert shown(page) == 5000
    page.goto("/shop/orders/?_limit=5000")
    assert scroll_to_end(page) == "That was all."
    assert shown(page) == 5000


def test_a_new_filter_ends_the_stream_of_the_old_one(open_page):
    page = open_page("/shop/heavy/")
    scroll(page)
    until(page, lambda: shown(page) > 50)
    stream = held_back(page)
    page.get_by_role("button", name="id", exact=True).click()
    page.wait_for_url("**/?_sort=id%3Aasc")
    until(
        page,
        lambda: (
            not [each for each in streams(page, id=stream["id"]) if each["state"] != "disconnect"]
        ),
    )


def test_script_and_server_show_a_value_the_same_way(open_page):
    for table in ("orders", "kinds", "columns"):
        page = open_page(f"/shop/{table}/")
        rendered = page.evaluate(
            "[...document.querySelectorAll('#rows tbody tr')].map(tr => tr.innerHTML)"
        )
        made = page.evaluate(
            """async table => {
                const { cell } = await import("/-/static/cell.js"), { ndjson } = await import("/-/static/ndjson.js");
                const columns = [...document.querySelectorAll("#rows th")], rows = [];
                const asked = new URLSearchParams({_limit: 50});
                for (const th of columns) if (th.className != "binary") asked.append("_column", th.dataset.column);
                for await (const { row } of ndjson(`/shop/${table}.ndjson?${asked}`, new AbortController().signal)) {
                    const tr = document.createElement("tr");
                    tr.append(...columns.map(th => cell(row[th.dataset.column], th.className)));
                    rows.push(tr.innerHTML);
                }
                return rows;
            }""",
            table,
        )
        assert made == rendered != []


def test_the_whole_of_a_long_value_can_be_reached(open_page):
    page = open_page("/shop/kinds/")
    cell = page.locator("td").nth(3)
    assert not cell.locator("div").is_visible()
    cell.locator("summary").click()
    assert cell.locator("div").inner_text() == "long " * 100 + "end"


def test_an_error_is_shown_in_place_and_mended_there(open_page):
    page = open_page("/shop/orders/")
    page.get_by_label("Column of filter 1").select_option("id")
    page.get_by_label("Value of filter 1").fill("many")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "many" in alert.inner_text()
    page.get_by_label("Value of filter 1").fill("3")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?id__eq=3")
    page.get_by_text("That was all.").wait_for()
    assert (page.get_by_role("alert").count(), shown(page)) == (0, 1)


def test_a_transfer_that_breaks_is_told_and_is_no_end(open_page):
    page = open_page("/shop/failing/")
    said = scroll_to_end(page)
    assert re.match(r"The transfer broke after [\d,]+ rows: this is not the end\.", said), said
    assert page.locator("#end").get_attribute("role") == "alert"
    assert 50 <= shown(page) <= 3000
    assert f"after {shown(page):,} rows" in said


def test_a_server_that_is_gone_is_told_in_place(open_page):
    page = open_page("/shop/orders/")
    page.route("**/shop/orders/?*", lambda route: route.abort())
    page.get_by_role("button", name="id", exact=True).click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("The server could not be asked")


def test_ten_million_rows_are_downloaded_with_progress_seen(open_page, tmp_path):
    page = open_page("/shop/ten_million/")
    page.get_by_text("10,000,000 rows").wait_for()
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV", exact=True).click()
    card, seen = page.locator("#downloads li"), set()

    def position():
        """How far the bar is, 0 to 1; -1 before there is a total, 1 when there is no bar any more."""
        return page.evaluate("document.querySelector('#downloads progress')?.position ?? 1")

    until(page, lambda: 0 < position())
    figures = card.locator(".figures").inner_text().replace("\xa0", " ")
    pattern = (
        r"[\d,]+ of 10,000,000 rows · [\d.]+ [kMG]?B sent · [\d.]+ [kMG]?B/s · [\d hmins]+ left"
    )
    assert re.fullmatch(pattern, figures), figures
    until(page, lambda: seen.add(position()) or 1 in seen, 600)
    assert len(seen) > 3 and min(seen) > 0
    figures = card.locator(".figures").inner_text().replace("\xa0", " ")
    assert re.fullmatch(r"10,000,000 rows, [\d.]+ MB sent", figures), figures
    assert "complete. 10,000,000" in page.locator("#said").inner_text()
    path = started.value.path()
    assert started.value.suggested_filename == "ten_million.csv"
    with path.open("rb") as file:
        assert (
            sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) == 10_000_001
        )
    card.get_by_role("button", name="Dismiss").click()
    assert not page.locator("#downloading").is_visible()


def test_a_download_is_cancelled_on_the_page_and_does_not_look_whole(open_page):
    page = open_page("/shop/endless/")
    with page.expect_download() as started:
        page.get_by_role("link", name="JSON lines").click()
    page.get_by_role("button", name="Cancel endless.ndjson").click()
    card = page.locator("#downloads li")
    card.get_by_text("Cancelled", exact=True).wait_for()
    assert card.locator(".figures").inner_text().endswith("The file is not whole.")
    assert "cancelled" in page.locator("#said").inner_text()
    assert started.value.failure() is not None


def test_two_downloads_stay_in_view_while_the_page_moves_on(open_page):
    page = open_page("/shop/endless/")
    for name in ("CSV", "JSON lines"):
        with page.expect_download():
            page.get_by_role("link", name=name, exact=True).click()
    page.get_by_text("Columns 2 of 2").click()
    page.get_by_label("name", exact=True).uncheck()
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**/?_column=id")
    assert page.locator("#downloads .name").all_inner_texts() == [
        "endless.ndjson",
        "endless.csv",
    ]
    for name in ("csv", "ndjson"):
        page.get_by_role("button", name=f"Cancel endless.{name}").click()
    page.locator(".state", has_text="Cancelled").nth(1).wait_for()


def test_a_download_that_is_refused_says_why(open_page):
    page = open_page("/shop/orders/")
    page.evaluate("document.querySelector('a[download]').href += '?nope__eq=1'")
    page.get_by_role("link", name="CSV", exact=True).click()
    card = page.locator("#downloads li")
    card.get_by_text("Failed", exact=True).wait_for(timeout=60_000)
    assert "nope" in card.locator(".figures").inner_text()


def test_the_live_view_shows_downloads_and_no_pages(open_page):
    page = open_page("/shop/orders/?_column=id")
    with page.expect_download():
        page.get_by_role("link", name="CSV", exact=True).click()
    until(page, lambda: streams(page, path="/shop/orders.csv"))
    assert not [each["path"] for each in streams(page) if each["path"].endswith("/")]


def test_a_line_is_copied(open_page, server):
    page = open_page("/shop/orders/?id__lt=3", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the line for pandas").click()
    page.get_by_text("Copied", exact=True).wait_for()
    line = f'pd.read_csv("{server.url}/shop/orders.csv?id__lt=3")'
    assert page.evaluate("navigator.clipboard.readText()") == line


def test_the_lines_work_as_they_are_copied(open_page, server, tmp_path):
    page = open_page("/shop/orders/?id__lt=300&customer__eq=Zo%C3%AB&_column=id")
    curl, line = (page.locator(f"#line-{n}").inner_text() for n in (1, 2))
    subprocess.run(["sh", "-c", curl], cwd=tmp_path, check=True, capture_output=True)
    assert len((tmp_path / "orders.csv").read_text().splitlines()) == 76
    assert list(eval(line, {"pd": pandas})["id"])[:3] == [2, 6, 10]


def test_a_statement_is_run_by_keyboard_and_refused_in_place(open_page):
    page = open_page("/shop/-/sql/")
    page.get_by_label("Statement").fill(
        "SELECT id AS n, 'x' || id AS name FROM orders WHERE id < 1000 ORDER BY id"
    )
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/-/sql/?sql=*")
    page.locator("#rows tbody tr").first.wait_for()
    assert page.locator("#rows th").all_inner_texts() == ["n", "name"]
    assert scroll_to_end(page) == "That was all."
    assert (shown(page), page.locator("#rows td").last.inner_text()) == (1000, "x999")
    page.get_by_label("Statement").fill("DELETE FROM orders")
    page.keyboard.press("Control+Enter")
    page.get_by_role("alert").wait_for()
    page.go_back()
    page.locator("#rows tbody tr").first.wait_for()
    assert page.get_by_label("Statement").input_value().startswith("SELECT i")


@pytest.mark.parametrize("name", NAMES)
def test_each_name_leads_to_its_page_and_its_download(open_page, name):
    page = open_page("/")
    page.locator(".tables h3 a").filter(has_text=re.compile(f"^{re.escape(name)}$")).click()
    assert page.locator("#rows tbody td").inner_text() == str(NAMES.index(name))
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert started.value.path().read_bytes() == b"n\r\n%d\r\n" % NAMES.index(name)


def test_all_of_it_works_without_javascript(open_page):
    page = open_page("/", java_script_enabled=False)
    page.get_by_role("link", name="orders").click()
    page.locator("#rows tbody tr").nth(49).wait_for()
    assert shown(page) == 50
    page.get_by_label("Column of filter 1").select_option("id")
    page.get_by_label("Comparison of filter 1").select_option("lt")
    page.get_by_label("Value of filter 1").fill("7")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**/shop/orders/?id__lt=7")
    page.get_by_role("button", name="id", exact=True).click()
    page.locator("th[aria-sort=ascending] button").click()
    page.wait_for_url("**/shop/orders/?id__lt=7&_sort=id%3Adesc")
    page.get_by_text("That was all.").wait_for()
    assert page.locator("#rows tbody td:first-child").all_inner_texts() == list("6543210")
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert len(started.value.path().read_text().splitlines()) == 8
    page.get_by_role("button", name="Remove the filter on id").click()
    page.wait_for_url("**/shop/orders/?_sort=id%3Adesc")
    page.goto("/shop/-/sql/")
    page.get_by_label("Statement").fill("SELECT 1 AS one")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("That was all.").wait_for()
    assert page.locator("#rows tbody td").all_inner_texts() == ["1"]


def test_the_keyboard_alone_filters_sorts_scrolls_and_downloads(open_page):
    page = open_page("/shop/orders/")

    def tab_to(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                box = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert box != "none", selector
                return
        raise AssertionError(selector)

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.evaluate("window.same = document.getElementById('preview')")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.wait_for_timeout(200)
    assert page.evaluate("window.same === document.getElementById('preview')")
    tab_to("#column-1")
    page.keyboard.type("id")
    tab_to("#value-1")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?id__eq=5")
    page.get_by_text("That was all.").wait_for()
    assert page.evaluate("document.activeElement.id") == "value-1"
    page.goto("/shop/orders/")
    tab_to("#rows")
    page.keyboard.press("End")
    until(page, lambda: shown(page) > 50)
    tab_to("#sort-1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?_sort=id%3Aasc")
    until(page, lambda: page.evaluate("document.activeElement.id") == "sort-1")
    tab_to("a[download]")
    with page.expect_download():
        page.keyboard.press("Enter")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_axe_finds_nothing_and_no_page_scrolls_sideways(open_page, width, scheme):
    page = open_page(
        "/", color_scheme=scheme, bypass_csp=True, viewport={"width": width, "height": 800}
    )

    def check(path=None):
        if path:
            page.goto(path)
        assert is_clean(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

    check()
    for path in (
        "kinds",
        "columns",
        "orders/?_column=nope",
        "orders/?id__gt=3&_sort=id:desc&customer__eq=Ann",
        "-/sql",
        "-/sql/?sql=SELECT",
        "empty",
    ):
        check(f"/shop/{path}/" if "?" not in path else f"/shop/{path}")
    check("/shop/failing/")
    scroll_to_end(page)
    check()
    page.goto("/shop/endless/")
    scroll(page)
    until(page, lambda: shown(page) > 50)
    page.get_by_text("More formats").click()
    page.get_by_text("Columns 2 of 2").click()
    with page.expect_download():
        page.get_by_role("link", name="JSON lines", exact=True).click()
    page.get_by_text(" left").wait_for()
    check()
    page.get_by_role("button", name="Cancel endless.ndjson").click()
    page.get_by_text("Cancelled", exact=True).wait_for()
    check()


def test_behind_a_token_all_of_it_works_and_the_lines_have_a_place_for_it(browser, tmp_path):
    with serve_shop(tmp_path, "--token", "secret-token") as server:
        context = browser.new_context(
            http_credentials={"username": "any", "password": "secret-token"}
        )
        page = context.new_page()
        page.goto(f"{server.url}/shop/orders/")
        page.get_by_text("20,000 rows").wait_for()
        scroll(page)
        until(page, lambda: shown(page) > 50)
        with page.expect_download() as started:
            page.get_by_role("link", name="CSV", exact=True).click()
        assert len(started.value.path().read_text().splitlines()) == 20_001
        page.locator("#downloads").get_by_text("Complete", exact=True).wait_for()
        curl = page.locator("#line-1").inner_text()
        assert "TOKEN" in curl and "secret" not in page.content()
        context.close()
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{server.url}/shop/orders/")


def test_firefox_fills_the_page_by_the_script_that_the_policy_allows(server):
    with firefox() as ask:
        ask(open=f"{server.url}/")
        ask(at="/")
        ask(wait="20,000 rows")
        ask(open=f"{server.url}/shop/orders/")
        ask(at="/shop/orders/")
        ask(wait="The first 50 rows.")
        scrolled = """() => {
            const box = document.getElementById("rows");
            box.scrollTop = box.scrollHeight;
            return box.querySelectorAll("tbody tr").length;
        }"""
        deadline = time.monotonic() + 60
        while ask(run=scrolled) == 50:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_on_a_tall_screen_rows_come_without_scrolling(open_page):
    page = open_page("/shop/orders/", viewport={"width": 1280, "height": 3000})
    until(page, lambda: shown(page) > 100)


def test_nothing_moves_for_those_who_want_no_motion(open_page):
    page = open_page("/shop/orders/", reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_script_is_small():
    scripts = (ROOT / "src/unspool/serve/static").glob("*.js")
    assert sum(len(path.read_bytes()) for path in scripts) < 25_000
