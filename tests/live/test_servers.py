"""The three ways over real servers, seen by curl."""

import json
import subprocess
import time

import pytest


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


def test_a_stuck_source_delays_no_row_by_more_than_100_ms(server):
    command = ["curl", "-sN", "--noproxy", "*", server.url + "/stuck"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        delays = [time.time() - json.loads(line)["made"] for line in curl.stdout]
    assert curl.returncode == 0
    assert len(delays) == 20
    assert max(delays) < 0.1
