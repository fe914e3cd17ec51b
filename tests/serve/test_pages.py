"""The pages as the server renders them: what a browser without JavaScript gets."""

import json
import re
from html import unescape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import duckdb
import pytest
from lxml import html
from serve.shop import COLUMNS, NAMES, make

from unspool.serve import Settings, create_app
from unspool.serve.families import family_of
from unspool.serve.links import View, from_form
from unspool.serve.preview import as_text, kind_of
from unspool.serve.snippets import snippets

FORMATS = ["csv", "xlsx", "parquet", "ndjson"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shop") / "shop.duckdb")


@pytest.fixture(scope="module")
def client(shop):
    return create_app([str(shop)], Settings()).test_client()


@pytest.fixture
def get(client):
    """The page at a URL, in order, with its parts in their places."""

    def get(url, status=200, **headers):
        response = client.get(url, headers={"HX-Request": "true", **headers})
        assert response.status_code == status, response.text
        page = html.fromstring(response.text)
        page.url = url
        return page

    return get


def texts(page, selector):
    return [" ".join(each.text_content().split()) for each in page.cssselect(selector)]


def rows(page):
    return [[cell.text_content() for cell in row] for row in page.cssselect("#rows tbody tr")]


def submit(page, button=None, **values):
    """The URL that the form asks for; `button` is pressed by its id."""
    form = page.get_element_by_id("query")
    fields = [(name, values.get(name, value)) for name, value in form.form_values()]
    if button is not None:
        pressed = page.get_element_by_id(button)
        fields.append((pressed.get("name"), pressed.get("value")))
    return form.action + "?" + urlencode(fields)


def test_home_lists_each_table_with_its_columns_and_counts_it_late(client, get):
    page = get("/")
    [orders] = [
        each
        for each in page.cssselect(".tables > li")
        if each.find("h3").text_content() == "orders"
    ]
    assert orders.cssselect("a")[0].get("href") == "/shop/orders/"
    assert texts(orders, ".count") == ["20,000 rows"]
    assert texts(orders, ".columns span")[:3] == [
        "id bigint",
        "customer varchar",
        "total decimal(18,2)",
    ]
    shell, *patches = client.get("/").text.split("<template for=")
    assert "20,000 rows" not in shell and "counting" in shell
    assert any("20,000 rows" in patch for patch in patches)


def test_home_is_searched_by_table_and_column(get):
    assert texts(get("/?q=customer"), ".tables h3") == ["orders"]
    assert texts(get("/?q=ORDERS+note"), ".tables h3") == ["orders"]
    assert texts(get("/?q=nowhere"), ".source") == ["shop duckdb SQL on shop Nothing matches."]


def test_a_view_is_not_counted_on_home(get):
    [view] = [
        each for each in get("/").cssselect(".tables > li") if "ten_million" in each.text_content()
    ]
    assert texts(view, ".count") == ["view"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_page_that_its_link_leads_to(get, name):
    [link] = [each for each in get("/").cssselect(".tables h3 a") if each.text_content() == name]
    page = get(link.get("href"))
    assert rows(page) == [[str(NAMES.index(name))]]


@pytest.mark.parametrize("name", NAMES)
def test_every_download_of_every_name_is_its_data(client, get, name):
    [link] = [each for each in get("/").cssselect(".tables h3 a") if each.text_content() == name]
    page = get(link.get("href"))
    [download] = [each for each in page.cssselect("a[download]") if each.text_content() == "CSV"]
    answer = client.get(download.get("href"))
    assert (answer.status_code, answer.text) == (200, f"n\r\n{NAMES.index(name)}\r\n")


def test_nothing_of_a_name_becomes_markup(get, client):
    text = client.get("/", headers={"HX-Request": "true"}).text
    assert "<b>ird" not in text and "49" not in texts(get("/"), ".tables h3")
    assert "we&lt;b&gt;ird" in text


def test_the_first_rows_are_there_and_what_follows_is_said(get):
    page = get("/shop/orders/")
    assert len(rows(page)) == 50
    assert rows(page)[7] == [
        "7",
        "empty",
        "25.90",
        "2024-01-01T00:07:00",
        "note 7",
        "9007199254741000",
    ]
    assert rows(page)[0][4] == "null"
    assert texts(page, "#end") == ["The first 50 rows. Scroll for more."]
    assert page.get_element_by_id("rows").get("data-url") == "/shop/orders.ndjson?_limit=5001"


@pytest.mark.parametrize(
    "limit, end, url",
    [
        (49, "That was all.", ""),
        (50, "That was all.", ""),
        (51, "The first 50 rows. Scroll for more.", "/shop/orders.ndjson?_limit=51"),
    ],
)
def test_the_end_is_told_at_the_limit(get, limit, end, url):
    page = get(f"/shop/orders/?_limit={limit}")
    assert texts(page, "#end") == [end]
    assert len(rows(page)) == min(limit, 50)
    assert page.get_element_by_id("rows").get("data-url") == url


@pytest.mark.parametrize("chars, shown", [(90_000, 23), (3_900_000, 1), (4_100_000, 0)])
def test_rows_that_are_long_are_fewer_in_the_page(tmp_path, chars, shown):
    path = tmp_path / "long.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(f"create table t as select repeat('x', {chars}) as x from range(25)")
    client = create_app([str(path)]).test_client()
    page = html.fromstring(
        client.get("/long/t/", headers={"HX-Request": "true"}).text,
        parser=html.HTMLParser(huge_tree=True),
    )
    assert len(rows(page)) == shown
    assert bool(texts(page, "[role=alert]")) == (shown == 0)
    if shown:
        assert page.get_element_by_id("rows").get("data-url") == "/long/t.ndjson?_limit=5001"


def test_a_table_without_rows_shows_its_columns(get):
    page = get("/shop/empty/")
    assert (texts(page, "#rows th"), texts(page, "#end")) == (["a integer"], ["No rows."])


def test_a_wide_table_shows_fewer_rows():
    from unspool.serve.preview import Preview, Shown

    assert [Preview([Shown("a")] * n).max_rows for n in (1, 40, 41, 400)] == [5000, 5000, 4878, 500]


def test_kinds_of_values_can_be_told_apart(get):
    page = get("/shop/kinds/")
    cells = dict(
        zip(
            [each.get("data-column") for each in page.cssselect("#rows th")],
            page.cssselect("#rows tbody td"),
        )
    )
    inner = {
        name: "".join(html.tostring(part, encoding="unicode") for part in cell)
        for name, cell in cells.items()
    }
    assert inner["nothing"] == "<i>null</i>"
    assert inner["empty"] == "<i>empty</i>"
    assert (inner["text"], cells["text"].text_content()) == ("", "null")
    long = "long " * 100 + "end"
    assert inner["long"] == f"<details><summary>{long[:100]}…</summary><div>{long}</div></details>"
    assert cells["lines"].cssselect("div")[0].text_content() == "two\nlines"
    assert inner["bytes"] == "<i>not shown</i>"
    assert cells["nested"].text_content() == '{"a":[1.0,2.5],"b":"<i>"}'
    assert cells["huge"].text_content() == "12345678901234567890123456789"
    assert [cells[name].get("class") for name in ("huge", "bytes", "day", "yes")] == [
        "number",
        "binary",
        "text",
        "text",
    ]


@pytest.mark.parametrize(
    "column, op, value, query",
    [
        ("customer", "eq", "Zoë", "customer__eq=Zo%C3%AB"),
        ("note", "isnull", "", "note__isnull=1"),
        ("note", "notnull", "ignored", "note__isnull=0"),
        ("id", "in", "1,2", "id__in=1%2C2"),
        ("customer", "eq", "", "customer__eq="),
    ],
)
def test_the_form_filters_and_leads_to_a_url_that_can_be_shared(
    client, get, column, op, value, query
):
    url = submit(get("/shop/orders/"), **{"-column": column, "-op": op, "-value": value})
    answer = client.get(url)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/shop/orders/?{query}")
    page = get(answer.headers["Location"])
    shown = "notnull" if op == "notnull" else op
    assert page.get_element_by_id("column-1").value == column
    assert page.get_element_by_id("op-1").value == shown
    assert 0 < len(rows(page)) <= 50
    assert submit(page).count("-column=") == 2


def test_a_filter_is_removed_by_its_button(client, get):
    page = get("/shop/orders/?id__gt=5&customer__eq=Ann&_sort=id%3Adesc")
    [remove] = page.cssselect('button[aria-label="Remove the filter on id"]')
    remove.set("id", "remove")
    answer = client.get(submit(page, "remove"))
    assert answer.headers["Location"] == "/shop/orders/?customer__eq=Ann&_sort=id%3Adesc"


def test_a_header_sorts_up_then_down_then_not(client, get):
    page, seen = get("/shop/orders/"), []
    for _ in range(3):
        location = client.get(submit(page, "sort-1")).headers["Location"]
        page = get(location)
        seen.append((location, page.cssselect("#rows th")[0].get("aria-sort"), rows(page)[0][0]))
    assert seen == [
        ("/shop/orders/?_sort=id%3Aasc", "ascending", "0"),
        ("/shop/orders/?_sort=id%3Adesc", "descending", "19999"),
        ("/shop/orders/", None, "0"),
    ]


def test_columns_are_chosen_and_keep_their_order(client, get):
    page = get("/shop/orders/?_column=total&_column=id")
    assert texts(page, "#rows th") == ["total decimal(18,2)", "id bigint"]
    assert client.get(submit(page)).headers["Location"] == "/shop/orders/?_column=total&_column=id"
    every = get("/shop/orders/")
    assert client.get(submit(every)).headers["Location"] == "/shop/orders/"


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_can_be_filtered_sorted_and_chosen(client, get, column):
    page = get("/shop/columns/")
    index = COLUMNS.index(column)
    filtered = client.get(submit(page, **{"-column": column, "-op": "eq", "-value": str(index)}))
    assert len(rows(get(filtered.headers["Location"]))) == 2
    chosen = get("/shop/columns/?" + urlencode({"_column": column}))
    assert rows(chosen) == [[str(index)]] * 2
    assert (
        client.get(submit(chosen))
        .headers["Location"]
        .endswith(urlencode({"_column": column}, quote_via=quote))
    )
    button = page.cssselect("#rows th button")[index]
    assert button.text_content() == column
    by = client.get(submit(page, button.get("id")))
    assert get(by.headers["Location"]).cssselect("#rows th")[index].get("aria-sort") == "ascending"


@pytest.mark.parametrize(
    "query, said",
    [("id__eq=x", "x"), ("nope__eq=1", "nope"), ("foo=1", "foo"), ("_limit=-1", "_limit")],
)
def test_what_the_data_refuses_the_page_shows_in_place(get, query, said):
    page = get(f"/shop/orders/?{query}", 400)
    [alert] = page.cssselect("#preview [role=alert]")
    assert said in alert.text_content()
    assert page.get_element_by_id("query") is not None
    assert page.cssselect("a[download], .snippet") == []


def test_a_value_that_cannot_be_shown_is_told_in_place(get):
    page = get("/shop/failing/?id__ge=2990")
    [alert] = page.cssselect("#preview [role=alert]")
    assert "row 11, column 'v'" in alert.text_content()


def test_the_crumbs_lead_to_the_source_among_others(shop, tmp_path):
    other = make(tmp_path / "an other.duckdb")
    client = create_app([str(shop), str(other)]).test_client()
    page = html.fromstring(client.get("/an%20other/orders/").text)
    crumb = page.cssselect("nav li:nth-child(2) a")[0].get("href")
    home = html.fromstring(client.get("/").text)
    [section] = home.cssselect(crumb.removeprefix("/"))
    assert section.find(".//h2").text_content() == "an other"
    assert section.cssselect("a.button")[0].get("href") == "/an%20other/-/sql/"


def test_the_lines_to_copy_are_of_the_same_rows(get):
    page = get("/shop/orders/?customer__eq=it%27s&_sort=id%3Adesc", Host="data.example:8080")
    query = "customer__eq=it%27s&_sort=id%3Adesc"
    assert texts(page, ".snippet pre") == [
        f"curl -f -o orders.csv 'http://data.example:8080/shop/orders.csv?{query}'",
        f'pd.read_csv("http://data.example:8080/shop/orders.csv?{query}")',
        f"SET force_download = true; SELECT * FROM read_parquet('http://data.example:8080/shop/orders.parquet?{query}');",
        f"http://data.example:8080/shop/orders.csv?{query}",
    ]


def test_the_lines_to_copy_have_a_place_for_the_token():
    lines = snippets(lambda suffix: f"http://h/{suffix}", "a'b", token=True)
    assert [line.text for line in lines] == [
        "curl -f -H 'Authorization: Bearer TOKEN' -o 'a'\"'\"'b.csv' http://h/csv",
        'pd.read_csv("http://h/csv", storage_options={"Authorization": "Bearer TOKEN"})',
        "CREATE SECRET (TYPE http, BEARER_TOKEN 'TOKEN'); SET force_download = true; SELECT * FROM read_parquet('http://h/parquet');",
        "http://h/csv",
    ]


def test_a_statement_runs_and_has_the_same_downloads(client, get):
    sql = "SELECT id, customer FROM orders WHERE id < 60 ORDER BY id"
    page = get("/shop/-/sql/?" + urlencode({"sql": sql}))
    assert page.get_element_by_id("sql").value.strip() == sql
    assert (len(rows(page)), rows(page)[1]) == (50, ["1", "Bob"])
    [csv] = [each for each in page.cssselect("a[download]") if each.text_content() == "CSV"]
    assert client.get(csv.get("href")).text.count("\r\n") == 61
    assert dict(parse_qsl(urlsplit(texts(page, ".snippet pre")[3]).query)) == {"sql": sql}


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE orders",
        "SELECT nope FROM orders",
        "SELECT",
        "SELECT * FROM read_csv('/etc/passwd')",
    ],
)
def test_a_statement_that_cannot_be_is_refused_in_place(get, client, sql):
    url = "/shop/-/sql/?" + urlencode({"sql": sql})
    status = client.get(url, headers={"HX-Request": "true"}).status_code
    page = get(url, status)
    [alert] = page.cssselect("#preview [role=alert]")
    assert len(alert.text_content()) > 10
    assert page.get_element_by_id("sql").value.strip() == sql


def test_numbers_of_a_statement_stand_to_the_right(get):
    sql = "SELECT id, total, customer, note IS NULL AS yes, NULL AS no FROM orders WHERE id < 60"
    page = get("/shop/-/sql/?" + urlencode({"sql": sql}))
    kinds = [each.get("class") for each in page.cssselect("#rows th")]
    assert kinds == ["number", "number", "text", "text", "text"]


def test_a_refused_statement_is_pointed_at(get):
    page = get("/shop/-/sql/?" + urlencode({"sql": "SELECT id\r\nFROM orders WHERE"}), 400)
    assert (
        page.cssselect("[role=alert] pre")[0].text.lstrip("\n")
        == "FROM orders WHERE\n                ^"
    )


def test_a_page_has_no_script_of_its_own_and_its_policy_allows_none(client):
    from unspool.templates import SCRIPT_HASH

    for url in ("/", "/shop/orders/", "/shop/-/sql/"):
        response = client.get(url)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "'unsafe" not in policy and SCRIPT_HASH in policy
        assert response.headers["Cache-Control"] == "no-store"
        in_order = client.get(url, headers={"HX-Request": "true"}).text
        assert re.findall(r"<script[^>]*>", in_order) == [
            '<script type="module" async src="/-/static/page.js">'
        ]
        assert not re.search(r"<style|\sstyle=|\son\w+=", in_order)


def test_what_is_not_there_is_a_page_that_says_so(client):
    for url in ("/shop/nope/", "/nope/-/sql/"):
        response = client.get(url, headers={"Accept": "text/html"})
        assert (response.status_code, response.mimetype) == (404, "text/html")
        assert "nope" in unescape(response.text)


@pytest.mark.parametrize("name", ["a__b", "a b", "é", "-op"])
def test_the_form_and_the_url_say_the_same(name):
    view = View(((f"{name}__ge", "1"), ("_sort", f"{name}:desc"), ("_column", name)))
    [(column, op, value)] = view.filters
    form = [("-form", ""), ("-column", column), ("-op", op), ("-value", value)]
    form += [("_sort", key) for key in view.sorts] + [("_column", each) for each in view.columns]
    assert from_form(form, [name, "other"]) == view


@pytest.mark.parametrize(
    "type, kind",
    [
        ("INT8", "number"),
        ("double precision", "number"),
        ("NUMERIC(10,2)", "number"),
        ("bigserial", "number"),
        ("BLOB", "binary"),
        ("bytea", "binary"),
        ("varbinary(3)", "binary"),
        ("interval", "text"),
        ("point", "text"),
        ("STRUCT(a INTEGER)", "text"),
        ("INTEGER[]", "text"),
        ("ENUM('int')", "text"),
    ],
)
def test_numbers_and_bytes_are_known_by_their_type(type, kind):
    assert kind_of(family_of(type)) == kind


def test_a_value_is_the_text_that_json_has():
    line = '{"a":[1,2.5,1e+22],"é":null,"b":"\\u00e9"}'
    assert as_text(json.loads(line)) == '{"a":[1,2.5,1e+22],"é":null,"b":"é"}'
    assert as_text("é") == "é"
