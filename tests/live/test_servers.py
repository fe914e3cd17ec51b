"""The three ways over real servers, seen by curl."""

import json
import re
import subprocess
import time

import pytest
from helpers import reader
from live import servers


def test_rows_arrive_as_csv(server, curl):
    code, body = curl(server.url + "/rows.csv?n=20000")
    assert code == 0
    expected = ["n,text,x,none", *(f"{n},text {n},{n / 8},{''}" for n in range(20_000)), ""]
    assert body.read_bytes().decode() == "\r\n".join(expected)


def test_a_template_arrives_whole(server, curl):
    code, body = curl(server.url + "/template")
    assert code == 0
    assert body.read_text().count("<tr>") == 20_000
    assert body.read_text().endswith("<td>399960001</table>")


def test_the_request_is_alive_in_the_generator(server, curl):
    code, body = curl(server.url + "/context?name=Grace")
    assert (code, body.read_text()) == (0, "Grace;" * 5)


def test_head_gets_the_headers_only(server, curl):
    code, body = curl(server.url + "/rows.csv?n=5", "-I")
    assert code == 0
    assert "text/csv; charset=utf-8" in body.read_text()
    assert "x-accel-buffering: no" in body.read_text().lower()


def test_a_failure_before_the_first_row_is_a_500(server, curl):
    code, body = curl(server.url + "/fail?at=0", "-f")
    assert code == 22
    assert not body.exists() or b'"n"' not in body.read_bytes()


CODINGS = ["gzip", "br", "zstd"]


def coding_of(headers):
    return re.search(r"(?mi)^content-encoding: (\w+)", headers.read_text())[1]


@pytest.mark.parametrize("path", ["/rows.csv?n=20000", "/compressed-template"])
@pytest.mark.parametrize("coding", CODINGS)
def test_curl_decodes_the_whole(server, curl, tmp_path, path, coding):
    _, body = curl(server.url + path)
    plain = body.read_bytes()
    headers = tmp_path / "headers"
    options = ["--compressed", "-H", f"Accept-Encoding: {coding}", "-D", str(headers)]
    code, body = curl(server.url + path, *options)
    assert (code, coding_of(headers)) == (0, coding)
    assert body.read_bytes() == plain


@pytest.mark.parametrize("coding", CODINGS)
def test_head_has_the_headers_of_the_compressed_answer(server, curl, coding):
    code, body = curl(server.url + "/rows.csv?n=5", "-I", "-H", f"Accept-Encoding: {coding}")
    assert (code, coding_of(body)) == (0, coding)
    assert "vary: accept-encoding" in body.read_text().lower()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_answer_that_fails_is_cut_off_on_any_server(server, curl, coding):
    """Also where the server ends the transfer cleanly: the decoder misses the end."""
    code, body = curl(f"{server.url}/fail?at=100000", "-H", f"Accept-Encoding: {coding}")
    program = {"gzip": "gzip", "zstd": "zstd", "br": "brotli"}[coding]
    done = subprocess.run([program, "-d", "-c"], input=body.read_bytes(), capture_output=True)
    assert code == (0 if "granian" in " ".join(server.process.args) else 18)
    assert done.returncode != 0
    rows = [json.loads(line) for line in reader(coding)(body.read_bytes()).splitlines()]
    assert rows == [{"n": n} for n in range(100_000)]


@pytest.mark.parametrize("at", [1, 1000, 100_000])
def test_a_late_failure_breaks_the_transfer_after_all_rows_before_it(server, curl, at):
    code, body = curl(f"{server.url}/fail?at={at}")
    rows = [json.loads(line) for line in body.read_text().splitlines()]
    assert rows == [{"n": n} for n in range(at)]
    if "granian" in " ".join(server.process.args):
        # Granian ends the body cleanly when a WSGI iterable raises: nothing in the protocol
        # is left to tell. The docs name it.
        assert code == 0
    else:
        assert code == 18


@pytest.mark.alone
@pytest.mark.parametrize("coding", ["identity", *CODINGS])
def test_a_stuck_source_delays_no_row_by_more_than_100_ms(server, coding):
    delays = delays_of_rows(server.url, coding)
    assert len(delays) == 20
    assert max(delays) < 0.1


def delays_of_rows(url, coding):
    """How many seconds after it was made each row of /stuck can be read."""
    accept = ["-H", f"Accept-Encoding: {coding}"]
    command = ["curl", "-sN", "--noproxy", "*", *accept, url + "/stuck"]
    read = bytes if coding == "identity" else reader(coding)
    delays, text = [], b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as curl:
        while data := curl.stdout.read(65536):
            *lines, text = (text + read(data)).split(b"\n")
            delays += [time.time() - json.loads(line)["made"] for line in lines]
    assert curl.returncode == 0
    return delays


@pytest.mark.alone
@pytest.mark.parametrize("coding", CODINGS)
def test_an_nginx_that_compresses_passes_our_chunks_on_at_once(monkeypatch, coding):
    config = "http {{ gzip on; gzip_types *; gzip_proxied any;"
    monkeypatch.setattr(servers, "NGINX", servers.NGINX.replace("http {{", config))
    with servers.serve("nginx 1.1, gunicorn") as server:
        delays = delays_of_rows(server.url, coding)
    assert len(delays) == 20
    assert max(delays) < 0.1
