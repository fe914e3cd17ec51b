import pytest

from unspool import UsageError
from unspool.headers import Asked
from unspool.templates.mode import chosen_mode, url_in_order

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        (Asked(), "auto"),
        (Asked(agent=FIREFOX), "auto"),
        (Asked(agent=CHROME.format(156)), "auto"),
        (Asked(agent="curl/8.0"), "auto"),
        (Asked(agent="Mozilla/5.0 (compatible; Googlebot/2.1)"), "inorder"),
        (Asked(agent="facebookexternalhit/1.1"), "inorder"),
        (Asked(htmx=True), "inorder"),
        (Asked(query="unspool=inorder"), "inorder"),
        (Asked(query="q=1&unspool=inorder&x"), "inorder"),
        (Asked(query="q=unspool=inorder"), "auto"),
        (Asked(query="unspool=whole"), "auto"),
    ],
)
def test_a_request_chooses_between_any_order_and_the_order_of_the_page(asked, mode):
    assert chosen_mode("auto", asked) == mode
    assert chosen_mode("inorder", asked) == "inorder"
    assert chosen_mode("whole", asked) == "whole"


def test_there_is_no_other_mode():
    with pytest.raises(UsageError, match='must be "auto", "inorder" or "whole"; got \'dark\''):
        chosen_mode("dark", Asked())


@pytest.mark.parametrize(
    ("method", "asked", "url"),
    [
        ("GET", Asked(), "?unspool=inorder"),
        ("GET", Asked(query="a=1&b="), "?a=1&b=&unspool=inorder"),
        ("POST", Asked(), ""),
        ("GET", Asked(agent=FIREFOX), "?unspool=inorder"),
        ("GET", Asked(agent=CHROME.format(149)), "?unspool=inorder"),
        ("GET", Asked(agent=CHROME.format(150)), ""),
        ("GET", Asked(agent=CHROME.format(200)), ""),
        ("GET", Asked(agent=CHROME.format(1000)), ""),
    ],
)
def test_browsers_that_cannot_fill_holes_find_the_page_in_order(method, asked, url):
    assert url_in_order(method, asked) == url


def test_a_request_is_read_the_same_from_wsgi_and_asgi():
    environ = {"QUERY_STRING": "a=1", "HTTP_USER_AGENT": "x", "HTTP_HX_REQUEST": "true"}
    headers = [(b"user-agent", b"x"), (b"hx-request", b"true")]
    scope = {"query_string": b"a=1", "headers": headers}
    assert (
        Asked.by_environ(environ)
        == Asked.by_scope(scope)
        == Asked(None, None, "", "a=1", "x", True)
    )
