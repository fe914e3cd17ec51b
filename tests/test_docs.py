"""The documentation is executed: what a page shows is what the code does."""

import doctest
import re
from pathlib import Path

import pytest

from unspool import observe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+|~~~+) *(?P<info>[^`\n]*)$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
TEMPLATE = re.compile(
    r"^```jinja\n\{# (?P<path>templates/[\w.]+) #\}\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_python_block_of_a_page_runs_and_shows_what_it_prints(page, tmp_path, monkeypatch):
    text = page.read_text("utf-8")
    monkeypatch.setattr(observe, "_observers", ())  # Who watches on a page stops at its end.
    monkeypatch.chdir(tmp_path)  # Where Flask looks for the templates of a page.
    Path("templates").mkdir()
    for template in TEMPLATE.finditer(text):
        Path(template["path"]).write_text(template["text"], "utf-8")
    names = {"__name__": f"page_{page.stem}"}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        run = run_examples if ">>> " in block["code"] else run_code
        run(block["code"], names, page, line)


def run_code(code, names, page, line):
    exec(compile("\n" * line + code, str(page), "exec"), names)


def run_examples(code, names, page, line):
    test = doctest.DocTestParser().get_doctest(code, names, name(page), str(page), line)
    report = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    failed, _ = runner.run(test, out=report.append, clear_globs=False)
    assert not failed, "".join(report)
    names.update(test.globs)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_python_block_is_written_so_that_it_would_not_run(page):
    text = page.read_text("utf-8")
    opening = list(FENCE.finditer(text))[::2]
    python = [fence for fence in opening if re.match(r"(py|python)\b", fence["info"])]
    assert [fence[0] for fence in python] == ["```python"] * len(BLOCK.findall(text))
