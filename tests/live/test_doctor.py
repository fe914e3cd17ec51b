"""`unspool doctor URL`: real servers, a real nginx, and a server that does one thing wrong."""

import gzip
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from live import servers

from unspool import UsageError
from unspool.doctor import examine_url

SLOW = "/slow?n=6&gap=0.2"
APP = "contract_flask:app"


def findings(url, **options):
    return [(f.layer, f.problem) for f in examine_url(url, **options).findings]


@pytest.mark.parametrize(
    "stack", ["gunicorn gthread", "nginx 1.0, gunicorn", "nginx 1.1, gunicorn"]
)
def test_nothing_is_wrong_with_a_clean_server_and_a_proxy_that_minds_the_header(stack):
    with servers.serve(stack, APP) as server:
        diagnosis = examine_url(server.url + SLOW)
    seen = dict(diagnosis.rows)
    assert diagnosis.passed, str(diagnosis)
    assert seen["arrives"] == "as it is made"
    assert int(seen["chunks"].split()[0]) >= 4  # Two may come together on a busy machine.
    assert seen["end"] == "announced: chunked"
    assert seen["HEAD"] == "status 200, no body"
    assert float(seen["longest gap"].split()[0]) > 0.1


def test_an_nginx_with_buffering_on_is_named(monkeypatch):
    config = "http {{ proxy_ignore_headers X-Accel-Buffering;"
    monkeypatch.setattr(servers, "NGINX", servers.NGINX.replace("http {{", config))
    with servers.serve("nginx 1.0, gunicorn", APP) as server:
        (finding,) = examine_url(server.url + SLOW).findings
    assert finding.layer.startswith("nginx/")
    assert finding.problem.startswith("gives all 48 bytes at once, after ")
    assert "proxy_buffering off" in finding.remedy


def test_an_nginx_that_compresses_and_holds_back_is_named(monkeypatch):
    config = (
        "http {{ proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types *; gzip_proxied any;"
    )
    monkeypatch.setattr(servers, "NGINX", servers.NGINX.replace("http {{", config))
    with servers.serve("nginx 1.1, gunicorn", APP) as server:
        diagnosis = examine_url(server.url + SLOW)
    seen = dict(diagnosis.rows)
    assert seen["compressed"].startswith("gzip, first bytes decoded after ")
    (finding,) = diagnosis.findings
    assert finding.layer.startswith("nginx/")
    assert finding.problem.startswith("holds bytes back to compress them: the first come after ")


def test_the_cases_of_check_app_are_run_where_their_paths_are(monkeypatch):
    monkeypatch.setattr("unspool.testing.CASES", ("head", "timely"))
    config = "http {{ proxy_ignore_headers X-Accel-Buffering;"
    monkeypatch.setattr(servers, "NGINX", servers.NGINX.replace("http {{", config))
    with servers.serve("nginx 1.0, gunicorn", APP) as server:
        diagnosis = examine_url(server.url)
    (finding,) = diagnosis.findings
    assert finding.layer.startswith("nginx/")
    assert finding.problem.startswith("fails timely: a row came ")
    assert "proxy_buffering off" in finding.remedy
    assert dict(diagnosis.rows)["head"] == "the source was closed and never started"


@contextmanager
def wrong(*parts, head=b"HTTP/1.1 200 OK\r\nServer: wrong/1\r\n\r\n", coded=None):
    """A server whose every answer is this head and these parts; floats are seconds to wait.

    Who takes gzip gets the parts `coded`, if there are some.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    def answer(connection):
        with connection:
            try:
                first = connection.recv(4096)
                if b"/log" in first:
                    return
                takes_gzip = coded and b"gzip" in first
                connection.sendall(GZIPPED if takes_gzip else head)
                for part in coded if takes_gzip else parts:
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        connection.sendall(part)
            except OSError:
                pass

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nServer: wrong/1\r\nTransfer-Encoding: chunked\r\n%b\r\n"
GZIPPED = CHUNKED % b"Content-Encoding: gzip\r\n"
END = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def problems(found):
    return [problem for _, problem in found]


def test_an_end_that_is_not_announced_is_found():
    with wrong(b"ab") as url:
        found = findings(url)
    assert ("wrong/1", "answers HEAD with a body") in found
    unannounced = "does not announce the end of an answer over HTTP/1.1"
    assert any(each.startswith(unannounced) for each in problems(found))


def test_an_answer_that_breaks_off_is_found():
    with wrong(chunk(b"ab"), head=CHUNKED % b"") as url:
        assert "breaks the answer off: cut off inside the framing" in problems(findings(url))


@pytest.mark.parametrize(
    ("size", "found"), [(4095, False), (4096, True), (4097, False), (8192, True)]
)
def test_bytes_that_come_by_the_page_are_found(size, found):
    parts = [chunk(b"x" * size), 0.6, chunk(b"x" * size), 0.6, chunk(b"x"), END]
    with wrong(*parts, head=CHUNKED % b"") as url:
        held = f"holds back what does not fill {size} bytes" in problems(findings(url))
    assert held is found


@pytest.mark.parametrize(
    ("pause_s", "status", "found"),
    [(0.2, b"200", False), (2.0, b"200", True), (2.0, b"404", False)],
)
def test_all_at_once_after_a_while_is_found(pause_s, status, found, monkeypatch):
    monkeypatch.setattr("unspool.doctor.url._SLOW_S", 1.5)
    head = (CHUNKED % b"").replace(b"200", status)
    with wrong(pause_s, chunk(b"ab"), chunk(b"cd"), END, head=head) as url:
        at_once = problems(findings(url))
    assert any(problem.startswith("gives all 4 bytes at once") for problem in at_once) is found


def test_a_coding_that_does_not_decode_is_found():
    head = CHUNKED % b"Content-Encoding: gzip\r\nVia: 1.1 cache\r\n"
    with wrong(chunk(b"no gzip"), END, head=head) as url:
        found = findings(url)
    assert all(layer == "1.1 cache (Via)" for layer, _ in found)
    assert any("compresses, and the answer cannot be decoded" in each for each in problems(found))


@pytest.mark.parametrize(
    ("coded", "found"),
    [
        ((1.2, chunk(gzip.compress(b"abcd")), END), True),
        ((0.6, chunk(gzip.compress(b"ab")), 2.0, chunk(gzip.compress(b"cd")), END), False),
    ],
)
def test_a_first_row_that_is_late_by_itself_does_not_hide_what_compression_holds_back(coded, found):
    plain = (0.9, chunk(b"ab"), 2.0, chunk(b"cd"), END)
    with wrong(*plain, head=CHUNKED % b"", coded=coded) as url:
        late = problems(findings(url))
    assert any(each.startswith("holds bytes back to compress them") for each in late) is found


def test_what_is_silent_is_found():
    with wrong(1.0, head=CHUNKED % b"") as url:
        assert problems(findings(url, timeout_s=0.3))[0] == "nothing came for 0.3 s"


def test_an_answer_that_is_too_fast_cannot_be_judged():
    with wrong(chunk(gzip.compress(b"ab")), END, head=GZIPPED) as url:
        diagnosis = examine_url(url)
    assert "too fast to tell" in dict(diagnosis.rows)["arrives"]


def test_what_is_no_url_is_refused_and_where_nothing_answers_is_an_error():
    with pytest.raises(UsageError, match="got 'ftp://x'"):
        examine_url("ftp://x")
    with pytest.raises(OSError):
        examine_url(f"http://127.0.0.1:{servers.free_port()}/")


def doctor(*arguments, cwd=servers.HERE):
    command = [sys.executable, "-m", "unspool", "doctor", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_exit_codes_of_the_command(tmp_path):
    (tmp_path / "shop.py").write_text(
        "import flask\n"
        "from werkzeug.middleware.profiler import ProfilerMiddleware\n"
        "app = flask.Flask('shop')\n"
        "bad = ProfilerMiddleware(app, stream=None)\n"
    )
    good = doctor("shop:app", cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("flask.app.Flask (WSGI)\n")
    assert good.stdout.endswith("No findings.\n")
    assert doctor("shop", cwd=tmp_path).stdout == good.stdout
    bad = doctor("shop:bad", cwd=tmp_path)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert "\n1. werkzeug.middleware.profiler.ProfilerMiddleware collects" in bad.stdout
    for wrong_target in ("shop:none", "nothing:app", "https://", "http://127.0.0.1:1/"):
        usage = doctor(wrong_target, cwd=tmp_path)
        assert (usage.returncode, usage.stdout) == (2, "")
        assert usage.stderr.startswith("unspool doctor: ")
    assert doctor(cwd=tmp_path).returncode == 2


def test_the_command_takes_a_url():
    with servers.serve("gunicorn gthread", APP) as server:
        done = doctor(server.url + SLOW, "--timeout", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "longest gap" in done.stdout
