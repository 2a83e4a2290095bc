"""What outlives the process, the agent, a full disk and a damaged file."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lessor.daemon.control import MAX_MESSAGE
from lessor.daemon.home import Home
from lessor.daemon.process import find, start
from lessor.dhcpd.client import PROGRAM, Dhcpd
from lessor.dhcpd.messages import ANSWER, Done, Hello, Open, Put, Refused, Welcome, encode, read
from lessor.errors import Unavailable
from tests.core.dhcp.client import reservation
from tests.dhcpclient import ACK
from tests.dhcpd.lan import SERVER, Lan, address, entry, lan, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Lan]:
    with lan(tmp_path) as made:
        yield made


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Have a file system of this size there."""
    folder.mkdir(exist_ok=True)
    size = f"size={kilobytes}k,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def serves(net: Lan, number: int) -> bool:
    reply = net.client(number).acquire(1.0)
    return reply is not None and reply.kind == ACK and reply.address == address(number)


def test_a_process_that_is_killed_serves_again_by_itself(net: Lan) -> None:
    net.begin(1, 2)
    before = net.daemon.hello().servers[0]
    net.daemon.close()
    running = find(Home(net.home))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_for(lambda: not running.alive())
    running.close()
    start(Home(net.home), PROGRAM, (str(net.inbox.folder), "1")).close()  # nobody feeds it
    assert serves(net, 1)
    assert net.daemon.connect().servers[0].revision == before.revision
    assert serves(net, 2)


def test_what_was_dropped_stays_so_after_a_restart(net: Lan) -> None:
    net.begin(1, 2)
    net.daemon.drop(SERVER, [address(1)])
    net.kill()
    net.daemon.connect()
    assert net.client(1).discover(0.3) is None
    assert serves(net, 2)
    assert set(net.daemon.dump(SERVER)[1]) == {address(2)}


def test_a_server_that_was_closed_stays_so_after_a_restart(net: Lan) -> None:
    net.begin(1)
    net.daemon.close_server(SERVER)
    net.kill()
    assert net.daemon.connect().servers == ()


def test_the_agents_end_is_not_its_own(net: Lan) -> None:
    net.begin(1)
    process = net.daemon.process
    assert process is not None
    pid = process.pid
    net.daemon.close()
    assert serves(net, 1)
    welcome = net.daemon.connect()
    assert (welcome.pid, welcome.version) == (pid, "1")


def test_an_agent_that_dies_in_the_middle_leaves_whole_batches(net: Lan) -> None:
    net.begin(1)
    home = Home(net.home)
    with home.control() as path, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(path)
        sock.send(encode(Put(SERVER, tuple(entry(reservation(n)) for n in range(2, 12)))))
    wait_for(lambda: serves(net, 11))
    assert len(net.daemon.dump(SERVER)[1]) == 11


def test_another_agent_learns_the_version_and_replaces_it(net: Lan) -> None:
    net.begin(1)
    newer = net.agent(version="2")
    assert newer.connect().version == "1"
    newer.end()
    assert newer.connect().version == "2"
    assert serves(net, 1)
    newer.close()


def test_a_process_that_hangs_is_noticed_and_replaced(net: Lan) -> None:
    net.begin(1)
    agent = net.agent(answer_s=0.3)
    pid = agent.connect().pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match="does not answer"):
        agent.hello()
    agent.end()
    assert agent.connect().pid != pid
    assert serves(net, 1)
    agent.close()


def test_a_server_without_its_interface_waits_for_it(net: Lan) -> None:
    net.begin(1)
    net.kill()
    subprocess.run(["ip", "-n", net.here, "link", "del", "dhcp0"], check=True)
    (state,) = net.daemon.connect().servers
    assert not state.attached
    assert set(net.daemon.dump(SERVER)[1]) == {address(1)}


def test_events_wait_for_a_full_disk(tmp_path: Path, net: Lan) -> None:
    with small_disk(net.inbox.folder, 64):
        net.inbox.make()
        net.begin(1, 2, 3)
        filler = net.inbox.folder / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        with pytest.raises(OSError, match="No space"):  # its last page, too
            net.inbox.current.write_bytes(b"\n" * 8192)
        client = net.client(1)
        client.acquire()
        client.renew()
        assert serves(net, 2)
        figures = net.daemon.status(SERVER)
        assert (figures.unreported, figures.lost) == (2, 0)
        assert "No space" in figures.unreported_why
        filler.unlink()
        wait_for(net.reported("old", 1))
        wait_for(net.reported("add", 2))
        assert net.daemon.status(SERVER).unreported == 0
        net.daemon.end()


def test_changes_are_served_while_the_disk_is_full(tmp_path: Path, net: Lan) -> None:
    net.home.mkdir()
    with small_disk(net.home, 1024):
        net.begin(1)
        filler = net.home / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2 << 20))
        done = net.daemon.put(SERVER, [entry(reservation(n)) for n in range(2, 130)])
        assert "full" in done.unsaved
        assert serves(net, 99)
        net.daemon.drop(SERVER, [address(1)])
        assert net.client(1).discover(0.3) is None
        assert len(net.daemon.dump(SERVER)[1]) == 128
        filler.unlink()
        wait_for(lambda: net.daemon.status(SERVER).unsaved == 0)
        revision = net.daemon.hello().servers[0].revision
        net.kill()
        assert net.daemon.connect().servers[0].revision == revision
        assert serves(net, 98)
        assert net.client(1).discover(0.3) is None
        net.daemon.end()


@pytest.mark.parametrize("damage", ["junk", "newer", "foreign"])
def test_a_table_that_cannot_be_read_is_begun_again(net: Lan, damage: str) -> None:
    net.begin(1)
    net.daemon.end()
    table = net.home / "own/table"
    if damage == "junk":
        table.write_bytes(b"junk" * 5000)
        table.with_name("table-wal").unlink()  # it has all of this small table
    else:
        with sqlite3.connect(table) as connection:
            name = "user_version" if damage == "newer" else "application_id"
            connection.execute(f"PRAGMA {name} = 77")
        connection.close()
    welcome = net.daemon.connect()
    assert welcome.servers == ()
    assert "begun again" in welcome.problem
    net.daemon.open(net.header())
    net.daemon.put(SERVER, [entry(reservation(1))])
    assert serves(net, 1)


def test_rows_of_another_layout_are_not_served(net: Lan) -> None:
    net.daemon.connect()
    header = net.header()
    old = type(header)(header.name, header.device, header.servers, header.layout + 1)
    net.daemon.open(old)
    net.daemon.put(SERVER, [entry(reservation(1))])
    net.kill()
    assert net.daemon.connect().servers == ()


def hostile() -> list[bytes]:
    put = encode(Put(SERVER, (entry(reservation(1)),)))
    return [
        b"\x00",
        b"\xff" * 1000,
        put[:-10],
        put + b"\x00",
        put.replace(b"Put", b"Pot"),
        b"\xdd\xff\xff\xff\xff" + b"\x90" * 100,  # an array that has 4 billion elements
        b"\x91" * 10_000,
        encode(Hello(protocol=99)),
    ]


@pytest.mark.parametrize("message", hostile(), ids=range(len(hostile())))
def test_a_malformed_message_is_refused(net: Lan, message: bytes) -> None:
    net.begin(1)
    home = Home(net.home)
    with home.control() as path, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.send(message)
        assert isinstance(read(ANSWER, sock.recv(MAX_MESSAGE)), Refused)
    assert serves(net, 1)


def test_sockets_of_another_kind_are_refused(net: Lan) -> None:
    net.begin(1)
    running = net.daemon.process
    assert running is not None
    files = len(os.listdir(f"/proc/{running.pid}/fd"))  # noqa: PTH208
    home = Home(net.home)
    with home.control() as path, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(path)
        socket.send_fds(sock, [encode(Open(net.header()))], [0, sock.fileno()])
        assert isinstance(read(ANSWER, sock.recv(MAX_MESSAGE)), Refused)
    wait_for(lambda: len(os.listdir(f"/proc/{running.pid}/fd")) == files)  # noqa: PTH208
    assert serves(net, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\xff" * 100, id="junk"),
        pytest.param(encode(Done(1)), id="of-another-question"),
        pytest.param(encode(Welcome(1, "x" * 300, (), False)), id="too-long"),
        pytest.param(None, id="silence"),
    ],
)
def test_an_agent_believes_no_malformed_answer(tmp_path: Path, answer: bytes | None) -> None:
    """The process reads what guests send: one that was taken over says what it likes."""
    home = Home(tmp_path)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from lessor.daemon.control import Closed\n"
        "from lessor.daemon.home import Home\n"
        "from lessor.daemon.start import begin, serve\n"
        "begun = begin(Home(Path(sys.argv[1])), int(sys.argv[2]), ['nobody'])\n"
        "serve(begun)\n"
        "while True:\n"
        "    peer = begun.listener.accept(0)\n"
        "    while peer:\n"
        "        try:\n"
        f"            if peer.receive(): peer.send({answer!r}) if {answer!r} else time.sleep(99)\n"
        "        except Closed:\n"
        "            peer = None\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(0.01)\n"
    )
    (tmp_path / "rogue.py").write_text(program)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ready, tell = os.pipe()
    argv = [sys.executable, "-P", "-m", "rogue", str(tmp_path), str(tell)]
    rogue = subprocess.Popen(argv, env=environ, pass_fds=[tell])
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    agent = Dhcpd(home.folder, tmp_path, "1", answer_s=0.5)
    try:
        with pytest.raises(Unavailable):
            agent.connect()
        agent.end()
        assert rogue.wait(10) != 0
    finally:
        agent.close()
        rogue.kill()
        rogue.wait(10)


def test_a_second_instance_ends_at_once(net: Lan) -> None:
    net.begin(1)
    running = net.daemon.process
    assert running is not None
    found: list[int] = []

    def again() -> None:
        other = net.agent()
        found.append(other.connect().pid)
        other.close()

    threads = [threading.Thread(target=again) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [running.pid] * 3


def test_a_disk_that_is_full_at_the_start_costs_no_answer(net: Lan) -> None:
    net.home.mkdir()
    with small_disk(net.home, 512):
        net.daemon.connect()
        net.daemon.end()
        for file in (net.home / "own").iterdir():
            file.unlink()
        net.daemon._devices.write(SERVER, net.header().device)  # it has no room later
        filler = net.home / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        welcome = net.daemon.connect()
        assert "full" in welcome.problem
        net.daemon.open(net.header())
        done = net.daemon.put(SERVER, [entry(reservation(1))])
        assert done.unsaved
        assert serves(net, 1)
        filler.unlink()
        wait_for(lambda: net.daemon.status(SERVER).unsaved == 0)
        net.kill()
        net.daemon.connect()
        assert serves(net, 1)
        net.daemon.end()
