"""Pages with holes in real browsers: Chromium fills them itself, Firefox and WebKit by the script."""

import itertools
import json
import shutil
import subprocess
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from live.servers import HERE, ROOT, serve
from live.webkit import webkit

NAMES = (f"page{n}" for n in itertools.count())

# What is on the page, in a form that does not tell how it came there.
CONTENTS = """() => ({
  title: document.title,
  late: document.querySelector("head meta[name=late]")?.content,
  texts: ["a", "b", "outer", "inner", "failing", "markup"].map(id => document.getElementById(id)?.textContent.trim()),
  rows: [...document.querySelectorAll("table > tbody > tr > td")].map(cell => cell.textContent),
  list: [...document.querySelectorAll("#list > li")].map(item => item.textContent),
  options: [...document.querySelectorAll("select > option")].map(option => option.textContent.trim()),
  choice: document.forms.form?.elements.choice?.value,
  field: document.forms.form?.elements.late?.value,
  log: [...document.querySelectorAll("#log > li")].map(item => item.textContent),
  footer: document.querySelector("body > footer")?.textContent,
  templates: document.querySelectorAll("template").length,
})"""

SHELL = {
    "title": "Shell",
    "late": "no",
    "texts": ["A comes", "B comes", "…", None, "", '<?start name="aaaa">not a hole<?end>'],
    "rows": ["…", "…", "…"],
    "list": ["first", "…"],
    "options": ["…"],
    "choice": "…",
    "field": "…",
    "log": [],
    "footer": "The footer",
    "templates": 0,
}

WHOLE = {
    "title": "Late",
    "late": "yes",
    "texts": [
        "A is here",
        "B is here",
        "outer inner",
        "inner",
        "failed: integer division or modulo by zero",
        '<?start name="aaaa">not a hole<?end>',
    ],
    "rows": ["row 1", "row 2", "row 3"],
    "list": ["first", "late"],
    "options": ["x", "y"],
    "choice": "y",
    "field": "v",
    "log": ["line 0 & more", "line 1 & more", "line 2 & more"],
    "footer": "The footer",
    "templates": 0,
}

# In this order, which is not that of the page.
GATES = [
    "b",
    "log0",
    "rows",
    "inner",
    "outer",
    "failing",
    "list",
    "log1",
    "select",
    "field",
    "head",
    "title",
    "log2",
    "a",
]


@pytest.fixture(scope="module")
def server():
    with serve("gunicorn gthread", "pages:app") as server:
        yield server


@pytest.fixture
def name():
    return next(NAMES)


def open_gates(server, name, *gates):
    for gate in gates:
        urlopen(f"{server.url}/open/{name}/{gate}", timeout=30).read()


@pytest.fixture(params=[True, False], ids=["JavaScript", "no JavaScript"])
def tab(request, browser):
    tab = browser.new_page(java_script_enabled=request.param)
    yield tab
    tab.close()


def test_chromium_shows_the_shell_and_each_block_as_it_comes(server, tab, name):
    tab.goto(f"{server.url}/page/{name}", wait_until="commit")
    tab.get_by_text("The footer").wait_for()
    assert tab.evaluate(CONTENTS) == SHELL
    open_gates(server, name, "b")
    tab.get_by_text("B is here").wait_for()
    assert tab.evaluate(CONTENTS) == {
        **SHELL,
        "texts": ["A comes", "B is here", *SHELL["texts"][2:]],
    }
    open_gates(server, name, "log0")
    tab.get_by_text("line 0 & more").wait_for()
    open_gates(server, name, "rows")
    tab.get_by_text("row 3").wait_for()
    assert tab.evaluate(CONTENTS)["rows"] == WHOLE["rows"]
    assert tab.get_by_text("A comes").count() == 1
    open_gates(server, name, *GATES)
    tab.wait_for_load_state("load")
    assert tab.evaluate(CONTENTS) == WHOLE


def test_a_nested_block_that_is_ready_first_is_not_lost(server, tab, name):
    tab.goto(f"{server.url}/page/{name}", wait_until="commit")
    tab.get_by_text("The footer").wait_for()
    open_gates(server, name, "inner", "b")
    tab.get_by_text("B is here").wait_for()
    open_gates(server, name, *GATES)
    tab.wait_for_load_state("load")
    assert tab.evaluate(CONTENTS) == WHOLE


def test_scripts_in_a_block_run_once(server, page, name):
    open_gates(server, name, *GATES)
    page.goto(f"{server.url}/page/{name}")
    assert page.evaluate("window.ran") == 1


@pytest.mark.parametrize("csp", ["none", "hash"])
def test_chromium_needs_no_script_whatever_the_policy(server, page, name, csp):
    said = []
    page.on("console", lambda message: said.append(message.text))
    open_gates(server, name, *GATES)
    page.goto(f"{server.url}/page/{name}?csp={csp}")
    assert page.evaluate(CONTENTS) == WHOLE
    allowed = [text for text in said if "sha256" in text]
    assert len([text for text in said if "script" in text.lower()]) == (
        2 if csp == "none" else 1
    ), said
    assert allowed or csp == "none"


def test_in_order_the_page_is_the_same(server, tab, name):
    open_gates(server, name, *GATES)
    tab.goto(f"{server.url}/page/{name}?unspool=inorder")
    assert tab.evaluate(CONTENTS) == WHOLE


@contextmanager
def firefox(*options):
    """A Firefox that takes commands, one a line, and answers with JSON."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    assert path, "no Firefox here; `make test` installs it"
    command = ["node", str(HERE / "firefox.mjs"), path, str(ROOT / ".cache" / "npm"), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(**command):
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert "error" not in answer, answer
        return answer["value"]

    try:
        yield ask
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def fox():
    with firefox() as ask:
        yield ask


def test_firefox_comes_to_the_same_page_by_the_script(server, fox, name):
    fox(open=f"{server.url}/page/{name}")
    fox(at=f"/page/{name}")
    fox(wait="The footer")
    assert fox(run=CONTENTS) == SHELL
    open_gates(server, name, "b", "inner")
    fox(wait="B is here")
    assert fox(run=CONTENTS) == {**SHELL, "texts": ["A comes", "B is here", *SHELL["texts"][2:]]}
    open_gates(server, name, "rows", "log0")
    fox(wait="row 3")
    fox(wait="line 0 & more")
    assert fox(run=CONTENTS)["rows"] == WHOLE["rows"]
    open_gates(server, name, *GATES)
    fox(loaded=True)
    assert fox(run=CONTENTS) == WHOLE
    assert fox(run="() => window.ran") == 1


def test_firefox_runs_the_script_by_its_hash(server, fox, name):
    open_gates(server, name, *GATES)
    fox(open=f"{server.url}/page/{name}?csp=hash")
    fox(at=f"/page/{name}?csp=hash")
    fox(loaded=True)
    assert fox(run=CONTENTS) == WHOLE
    assert fox(run="() => window.ran ?? null") is None


def test_firefox_without_javascript_goes_to_the_page_in_order(server, name):
    with firefox("no JavaScript") as ask:
        open_gates(server, name, *GATES)
        ask(open=f"{server.url}/page/{name}")
        ask(at=f"/page/{name}?unspool=inorder")
        ask(wait="A is here")
        assert ask(run=CONTENTS) == WHOLE


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    with webkit(tmp_path_factory.mktemp("webkit")) as tab:
        yield tab


def test_webkit_comes_to_the_same_page_by_the_script(server, kit, name):
    kit.open(f"{server.url}/page/{name}")
    kit.wait(f"location.pathname == '/page/{name}' && document.querySelector('footer')")
    kit.wait("performance.getEntriesByName('first-contentful-paint').length")
    assert kit.run(CONTENTS) == SHELL
    open_gates(server, name, "b", "inner")
    kit.wait("document.body.innerText.includes('B is here')")
    assert kit.run(CONTENTS) == {**SHELL, "texts": ["A comes", "B is here", *SHELL["texts"][2:]]}
    open_gates(server, name, *GATES)
    kit.wait("document.readyState == 'complete'")
    assert kit.run(CONTENTS) == WHOLE
    assert kit.run("() => window.ran") == 1


def test_webkit_runs_the_script_by_its_hash(server, kit, name):
    open_gates(server, name, *GATES)
    kit.open(f"{server.url}/page/{name}?csp=hash")
    kit.wait("location.search == '?csp=hash' && document.readyState == 'complete'")
    assert kit.run(CONTENTS) == WHOLE
    assert kit.run("() => window.ran ?? null") is None
