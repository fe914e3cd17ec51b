import subprocess
import sys

import pytest

from unspool.cli import main
from unspool.templates.check import check

SLOW = "{% for r in rows %}{{ r }}{% endfor %}"


def found(source):
    return [(finding.line, finding.rule) for finding in check(source)]


@pytest.mark.parametrize(
    ("source", "findings"),
    [
        (SLOW, []),
        ("\n{% filter upper %}\n" + SLOW + "{% endfilter %}", [(2, "filter")]),
        ("{% filter upper %}a few words{% endfilter %}", []),
        ("{% set x %}" + SLOW + "{% endset %}", [(1, "set")]),
        ("{% set x %}a few {{ words }}{% endset %}", []),
        ("{% set x = 1 %}", []),
        ("{% set x %}{% defer a %}1{% enddefer %}{% endset %}", [(1, "set")]),
        ("\n\n{% for r in rows|sort %}{{ r }}{% endfor %}", [(3, "sort")]),
        ("{% for r in rows|selectattr('x')|list %}{{ r }}{% endfor %}", [(1, "sort")]),
        ("{% for g in rows|groupby('x') %}{{ g }}{% endfor %}", [(1, "sort")]),
        ("{% for r in rows|map('upper') %}{{ r|upper }}{% endfor %}", []),
        ("{% for r in rows %}\n{{ loop.length }}{% endfor %}", [(2, "length")]),
        (
            "{% for r in rows %}{{ loop.revindex }}{{ loop.revindex0 }}{% endfor %}",
            [(1, "length")] * 2,
        ),
        ("{% for r in rows %}{% if not loop.last %},{% endif %}{% endfor %}", [(1, "last")]),
        ("{% for r in rows %}{{ loop.index }}{{ loop.first }}{% endfor %}", []),
        ("{% include 'a' without context %}", [(1, "include")]),
        ("{% include 'a' %}", []),
        ("{% block b %}{{ super()|upper }}{% endblock %}", [(1, "call")]),
        ("{% block b %}{{ super() }}{% endblock %}", []),
        ("{% macro m() %}x{% endmacro %}{{ m() }}{% call m() %}{% endcall %}", []),
        ("{% macro m() %}x{% endmacro %}{{ 'a' ~ m() }}", [(1, "call")]),
        ("{{ other()|upper }}", []),
        ("{% nonsense %}", [(1, "syntax")]),
        ("{% for %}", [(1, "syntax")]),
        (
            "{% do x.append(1) %}{% trans %}a{% endtrans %}{% for a in b %}{% break %}{% endfor %}",
            [],
        ),
    ],
)
def test_what_cannot_stream_is_named(source, findings):
    assert found(source) == findings


HOLE = "{% defer a %}<b>1</b>{% placeholder %}<b>…</b>{% enddefer %}"


@pytest.mark.parametrize(
    ("source", "findings"),
    [
        (f"<body><div>{HOLE}</div></body>", []),
        (f"<body>\n<div>{HOLE}</body>", []),  # The end of the body closes it.
        (f"<body>\n<div>{HOLE}", [(2, "unclosed")]),
        (f"<body>\n\n<section><p>{HOLE}", [(3, "unclosed"), (3, "unclosed")]),
        (f"<body><p>text<div>{HOLE}</div>", []),
        (f"<body><p>text{HOLE}", [(1, "unclosed")]),
        (f"<ul><li>{HOLE}</ul>", []),
        (f"<table><tr><td>{HOLE}</table><br><img src=x><input>", []),
        ("<div>", []),  # A part of a page, without holes.
        ("<body><div>", [(1, "unclosed")]),
        ("{% if x %}<div class=a>{% else %}<div>{% endif %}" + HOLE + "</div>", []),
        ('<div class="{{ x }}" {% if y %}hidden{% endif %}>' + HOLE + "</div>", []),
        (f"{{% extends 'base' %}}{{% block b %}}<div>{HOLE}{{% endblock %}}", []),
        (f"<title>{HOLE}</title>", [(1, "hole")]),
        (f"<textarea>\n{HOLE}</textarea>", [(2, "hole")]),
        (f"<svg><g>{HOLE}</g></svg>", [(1, "hole")]),
        (f"<svg><path/></svg>{HOLE}", []),
        (f"<script>{HOLE}</script>", [(1, "hole")]),
        (f'<a href="{HOLE}">x</a>', [(1, "hole")]),
        (f"{{% macro m() %}}<title>{HOLE}</title>{{% endmacro %}}", [(1, "hole")]),
        (
            f"{{% extends 'base' %}}{{% block b %}}<title>{HOLE}</title>{{% endblock %}}",
            [(1, "hole")],
        ),
        ("{% defer a %}<div>1{% enddefer %}", [(1, "part")]),
        ("{% defer a %}1</div>{% enddefer %}", [(1, "part")]),
        ("{% defer a %}1{% placeholder %}<i>…{% enddefer %}", [(1, "part")]),
        ("{% defer a %}1{% error e %}<i>…{% enddefer %}", [(1, "part")]),
        (
            "<table><tbody>{% defer a %}<tr><td>1{% placeholder %}<tr><td>…{% enddefer %}</table>",
            [],
        ),
        ("<ul>\n{% live x as y %}<b>{{ y }}{% endlive %}</ul>", [(2, "part")]),
        ("{% defer a %}<title>" + HOLE + "</title>{% enddefer %}", [(1, "hole")]),
    ],
)
def test_html_that_keeps_holes_from_being_filled_is_named(source, findings):
    assert found(source) == findings


def test_a_finding_says_what_and_what_to_do():
    (finding,) = check("{% for r in rows %}{{ loop.length }}{% endfor %}")
    assert finding.what == "loop.length reads all rows before the first is written"
    assert finding.remedy == "Hand the number of rows over as a variable of its own."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "good.html").write_text("{{ x }}")
    (tmp_path / "data.txt").write_text("{% nonsense %}")
    return tmp_path


def test_a_folder_without_faults_is_fine(folder, capsys):
    (folder / "sub" / "note.j2").write_text("{% for r in rows %}\n{{ loop.last }}{% endfor %}")
    assert main(["check", str(folder)]) == 0
    assert capsys.readouterr().out == (
        f"{folder}/sub/note.j2:2: note: loop.last holds each row back until the next is there. "
        "Write separators before a row instead: {% if not loop.first %}.\n"
        "2 templates, no faults.\n"
    )


def test_faults_are_printed_with_file_line_and_remedy_and_fail(folder, capsys):
    (folder / "sub" / "bad.html").write_text("\n{% include 'x' without context %}")
    assert main(["check", str(folder)]) == 1
    assert capsys.readouterr().out == (
        f"{folder}/sub/bad.html:2: include: include … without context is made as a whole before "
        "anything of it is written. Leave out `without context`.\n"
        "2 templates, 1 faults.\n"
    )


def test_a_path_that_is_not_there_is_another_failure(folder, capsys):
    assert main(["check", str(folder / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().out


def test_extensions_can_be_named(folder, capsys, monkeypatch):
    (folder / "tags.py").write_text(
        "from jinja2 import nodes\nfrom jinja2.ext import Extension\n"
        "class Mine(Extension):\n    tags = {'mine'}\n"
        "    def parse(self, parser):\n        next(parser.stream)\n        return []\n"
    )
    monkeypatch.syspath_prepend(folder)
    template = str(folder / "e.html")
    (folder / "e.html").write_text("{% mine %}")
    assert main(["check", template]) == 1
    assert "Encountered unknown tag 'mine'" in capsys.readouterr().out
    assert main(["check", template, "--extension", "tags.Mine"]) == 0


def test_it_is_a_command_of_its_own(folder):
    command = [sys.executable, "-m", "unspool", "check", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 templates, no faults.\n")


def test_without_a_command_it_says_how_to_use_it(capsys):
    with pytest.raises(SystemExit) as exited:
        main([])
    assert exited.value.code == 2
    assert "usage: unspool" in capsys.readouterr().err
