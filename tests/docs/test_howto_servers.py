"""The page about several servers is followed to the letter, on machines of their own.

The database's machine is a fresh one; those of the servers and the host are network namespaces in
it, each with its own /etc/lessor and /var/lib/lessor. PostgreSQL's packages are there already: what
their installation does besides is done instead of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.lab.guest.image import default_cache
from tests.docs.follow import Reader
from tests.docs.machine import Machine
from tests.docs.page import FIRST, Step, steps
from tests.docs.terminal import Terminal
from tests.docs.test_howto import PAGES, ROOT, SET_UP

INSTALL = "apt-get install --yes postgresql"
INSTALLED = """make-ssl-cert generate-default-snakeoil
pg_dropcluster 15 main
pg_createcluster 15 main --start"""
MACHINES = {"one": "192.0.2.2", "two": "192.0.2.3", "host": "192.0.2.11"}
ON = {FIRST: "one", "server": "one", "second": "two", "server2": "two", "host": "host"}
CABLES = """mkdir -p /etc/lessor /var/lib/lessor
ip address flush dev eth0
ip link add wire type bridge
ip address add 192.0.2.5/24 dev wire
ip link set wire up"""
CABLE = """mkdir -p /tmp/{name}/etc /tmp/{name}/var
ip netns add {name}
ip link add {name} type veth peer name eth0 netns {name}
ip link set {name} master wire up
ip -n {name} address add {address}/24 dev eth0
ip -n {name} link set eth0 up
ip -n {name} link set lo up"""
ENTER = 'mount --bind "$0/etc" /etc/lessor; mount --bind "$0/var" /var/lib/lessor; exec "$@"'
PATIENCE_S = 120

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.skipif(
        not Path("/usr/bin/pg_createcluster").exists(), reason="the page is about Debian"
    ),
]


@pytest.fixture
def reader() -> Iterator[Reader]:
    machine = Machine(ROOT, default_cache())

    def terminal(name: str) -> Terminal:
        where = ON.get(name)
        if where is None:
            return machine.terminal({})
        inside = ("ip", "netns", "exec", where, "sh", "-c", ENTER, f"/tmp/{where}")
        return machine.terminal({}, inside)

    try:
        machine.start()
        reader = Reader(terminal)
        reader.terminal("database").run(f"{SET_UP}\n{CABLES}")
        for name, address in MACHINES.items():
            reader.terminal("database").run(CABLE.format(name=name, address=address))
        yield reader
    finally:
        machine.stop()


def lent(step: Step) -> Step:
    return replace(step, typed=step.typed.replace(INSTALL, INSTALLED))


def test_the_page_about_several_servers_is_true(reader: Reader) -> None:
    page = (PAGES / "run-several-servers.md").read_text()
    assert INSTALL in page
    reader.follow([lent(step) for step in steps(page)], PATIENCE_S)
    networks = reader.terminal().run("lessor network list")
    assert "blue" in networks
    assert "late" not in networks
    said = reader.terminal("host").wait(lambda seen: "server changed" in seen, 10)
    assert "another store" not in said
