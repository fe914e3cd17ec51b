"""The command: its exit codes, and what it prints where."""

import pytest

from unspool.cli import COMMANDS, main

SHOP = """
import flask
from werkzeug.middleware.profiler import ProfilerMiddleware

app = flask.Flask("shop")
app.bad = ProfilerMiddleware(app, stream=None)
"""


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    (tmp_path / "a_shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("a_shop:app", 0, "No findings."),
        ("a_shop", 0, "No findings."),
        ("a_shop:app.bad", 1, "1. werkzeug.middleware.profiler.ProfilerMiddleware collects"),
    ],
)
def test_what_is_found_is_printed_and_decides_the_exit_code(target, code, says, capsys):
    assert main(["doctor", target]) == code
    printed = capsys.readouterr()
    assert says in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    "target", ["a_shop:none", "no_shop:app", ":app", "https://", "http://127.0.0.1:1/"]
)
def test_what_cannot_be_looked_at_is_an_error_of_usage(target, capsys):
    assert main(["doctor", target]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("unspool doctor: ")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["doctor"]])
def test_a_wrong_command_line_is_an_error_of_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert "usage: unspool" in capsys.readouterr().err


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert all(
        f"{name}" in printed and command.HELP in printed for name, command in COMMANDS.items()
    )
