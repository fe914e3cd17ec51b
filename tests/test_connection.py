import socket
from contextlib import ExitStack

import pytest

from unspool.connection import break_off, socket_to


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


@pytest.mark.parametrize("duplicates", [0, 1, 5])
def test_a_connection_is_found_however_often_it_is_duplicated(pair, duplicates):
    client, server = pair
    with ExitStack() as held:
        for _ in range(duplicates):
            held.enter_context(server.dup())
        with socket_to(*client.getsockname()) as found:
            assert found.getpeername() == client.getsockname()


def test_a_connection_that_is_not_there_is_not_found(pair):
    client, _ = pair
    host, port = client.getsockname()
    client.close()
    assert socket_to("192.0.2.1", port) is None


def test_after_breaking_off_the_client_gets_a_reset(pair):
    client, server = pair
    server.sendall(b"data")
    assert client.recv(10) == b"data"
    break_off(server.dup())
    with pytest.raises(ConnectionResetError):
        client.recv(1)
