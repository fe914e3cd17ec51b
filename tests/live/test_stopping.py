"""Servers that are told to stop while streams run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from live.servers import HERE, free_port, running

BIN = Path(sys.executable).parent
UVICORN = "uvicorn --log-level warning --timeout-graceful-shutdown 1 --port {port} "
HYPERCORN = "hypercorn -b 127.0.0.1:{port} "


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (UVICORN + "stopping:app", "plain"),
        (UVICORN + "stopping:app", "awaited"),
        (UVICORN + "stopping:bridged", "plain"),
        (HYPERCORN + "stopping:app", "plain"),
        (HYPERCORN + "stopping:app", "awaited"),
        (HYPERCORN + "stopping:bridged", "plain"),
    ],
)
def test_a_stream_is_broken_closed_and_told_when_its_server_stops(tmp_path, command, path):
    port, log = free_port(), tmp_path / "log"
    log.touch()
    env = {**os.environ, "CONTRACT_LOG": str(log)}
    command, *arguments = command.format(port=port).split()
    output = tmp_path / "output"
    with running([BIN / command, *arguments], port, HERE, env, output) as process:
        url = f"http://127.0.0.1:{port}/{path}"
        client = subprocess.Popen(["curl", "-sSN", url], stdout=subprocess.PIPE)
        assert client.stdout.read(4) == b"[0]\n"
        process.terminate()
        process.wait(25)
        client.stdout.read()
        client.stdout.close()
        assert client.wait() == 18
    assert log.read_text().split() == ["closed", "disconnect"]
    warned = "hypercorn cuts what is still being sent 3 s after" in output.read_text()
    assert warned == (command == "hypercorn")


@pytest.mark.parametrize(
    ("command", "times"),
    [
        (HYPERCORN + "--graceful-timeout 30 stopping:app", 0),
        ("daphne -b 127.0.0.1 -p {port} stopping:app", 1),
    ],
)
def test_servers_are_warned_of_for_a_reason_and_once(tmp_path, command, times):
    port, output = free_port(), tmp_path / "output"
    env = {**os.environ, "CONTRACT_LOG": str(tmp_path / "log")}
    command, *arguments = command.format(port=port).split()
    with running([BIN / command, *arguments], port, HERE, env, output):
        url = f"http://127.0.0.1:{port}/awaited"
        for _ in range(2):
            subprocess.run(["curl", "-s", "-m", "3", "-o", os.devnull, url])
    text = output.read_text()
    assert text.count("daphne takes all that an app sends into memory") == times
    assert "hypercorn cuts" not in text
