"""Two servers on one board: only one server decides a submission, unless that server has ended."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from superbench.board.board import Board, storage_at
from superbench.board.storage import incoming, leases
from superbench.board.storage.incoming import Submission

HERE = leases.name()
ELSEWHERE = "another-machine 77"


@pytest.fixture
def waiting(address: str) -> Submission:
    new = incoming.received("alice", 3, "apc", ("ks",), "ab" * 32)
    incoming.keep(Board(address).storage, new, b"zip")
    return new


def test_of_many_servers_one_decides_a_submission(address: str, waiting: Submission) -> None:
    taken: list[str] = []

    def serve(server: str) -> None:
        storage = storage_at(address)
        if leases.claim(storage, waiting, server):
            taken.append(server)
        storage.close()

    servers = [threading.Thread(target=serve, args=(f"machine{n} {n}",)) for n in range(6)]
    for one in servers:
        one.start()
    for one in servers:
        one.join()
    assert len(taken) == 1
    storage = Board(address).storage
    assert leases.claim(storage, waiting, taken[0]) is not None  # renewed
    assert leases.claim(storage, waiting, HERE) is None


def test_a_lease_that_is_not_renewed_ends(address: str, waiting: Submission) -> None:
    storage = Board(address).storage
    held = leases.claim(storage, waiting, ELSEWHERE)
    assert held is not None
    assert not leases.is_free(held, HERE)
    incoming.update(storage, replace(held, leased="20200101T000000.000000Z"))
    again = leases.claim(storage, waiting, HERE)
    assert again is not None
    assert (again.server, incoming.data_of(storage, again)) == (HERE, b"zip")


def test_a_server_that_is_gone_from_this_machine_holds_nothing(address: str, waiting: Submission) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = f"{socket.gethostname()} {process.pid}"
    storage = Board(address).storage
    assert leases.claim(storage, waiting, server) is not None
    assert leases.claim(storage, waiting, HERE) is None
    process.kill()
    process.communicate()
    assert leases.claim(storage, waiting, HERE) is not None


def test_what_is_decided_or_gone_is_nobodys(address: str, waiting: Submission) -> None:
    storage = Board(address).storage
    incoming.update(storage, waiting.end("accepted", 200))
    assert leases.claim(storage, waiting, HERE) is None
    incoming.forget(storage, [waiting.id])
    assert leases.claim(storage, waiting, HERE) is None


@pytest.mark.parametrize("server", ["", "x", f"{socket.gethostname()} x", f"{socket.gethostname()} {10**30}", "a b c"])
@pytest.mark.parametrize("leased", ["", "junk", "99999999T999999.0Z"])
def test_a_damaged_lease_holds_nobody_up(server: str, leased: str, waiting: Submission) -> None:
    assert leases.is_free(replace(waiting, server=server, leased=leased), HERE)


@pytest.mark.parametrize("identity", ["", "x" * 500, "../secret", "a\0b", "a/b", "nobody"])
def test_an_id_that_is_none_finds_nothing(identity: str, address: str, waiting: Submission) -> None:
    assert incoming.read(Board(address).storage, identity) is None


def test_senders_see_nothing_of_leases(waiting: Submission) -> None:
    assert not {"server", "leased", "tries"} & set(replace(waiting, server=HERE).public())
