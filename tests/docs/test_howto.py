"""The pages of docs/how-to are followed to the letter: on a fresh machine, or in a lab.

In a lab the first terminal is on the server, the others on the hosts that they are named after.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lessor.lab.guest.image import default_cache
from lessor.lab.lab import Lab, usual_hosts
from tests.docs.follow import Reader
from tests.docs.machine import LEND_ENVIRONMENT, Machine
from tests.docs.page import FIRST, steps
from tests.docs.terminal import Terminal

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/how-to"
CLIENTS = ROOT / ".venv-clients/bin"
ANSIBLE = ROOT / ".venv-ansible/bin"
IN_THE_LAB = Path(__file__).parent / "in_the_lab"  # programs that stand for those of systemd
COMPUTE_API = ROOT / "tests/api/compute_api.py"
SETTINGS = """mkdir /etc/lessor
cat > /etc/lessor/lessor.conf <<END
[DEFAULT]
flat_network_bridge = br100
END
(lessor up >/tmp/up.log 2>&1 &)
until lessor network create blue --cidr 10.0.0.0/24; do sleep 0.1; done"""
CONTROLLER = """echo 127.0.0.1 controller > /run/hosts
mount --bind /run/hosts /etc/hosts"""
SET_UP = f"""git config --global safe.directory '*'
git clone -q file:///mnt/repository /opt/lessor
cd /opt/lessor
{LEND_ENVIRONMENT}
ln -s /opt/lessor/.venv/bin/lessor /usr/bin/lessor"""
EVENT_S = 30  # it is sent when the port is ACTIVE, not before the page says so
WITH_A_CLIENT = [
    pytest.mark.long,
    pytest.mark.clients,
    pytest.mark.skipif(not ANSIBLE.exists(), reason="scripts/setup makes it"),
]

pytestmark = pytest.mark.lab


def read(page: str, reader: Reader) -> None:
    reader.follow(steps((PAGES / page).read_text()))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("howto") / "lab", usual_hosts())
    yield lab
    lab.down()


@contextmanager
def reader_in(lab: Lab) -> Iterator[Reader]:
    """Give a reader the lab's terminals; what he made is deleted afterwards."""
    with ExitStack() as opened:

        def terminal(name: str) -> Terminal:
            node = lab.node("server" if name == FIRST else name)
            environment = node.env()
            path = f"{IN_THE_LAB}:{CLIENTS}:{ANSIBLE}:{environment['PATH']}"
            environment |= {"PATH": path, "TERM": "xterm"}
            shell = ("setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting")
            made = Terminal((*node.entering(), *shell), environment)
            opened.callback(made.close)
            return made

        yield Reader(terminal)
    for plural in ("ports", "networks"):
        for row in lab.api.list(plural):
            if not row.get("device_owner", "").startswith("network:"):
                lab.api.delete(plural, row["id"])


@pytest.fixture
def in_the_lab(lab: Lab) -> Iterator[Reader]:
    with reader_in(lab) as reader:
        yield reader


@pytest.fixture
def on_a_machine() -> Iterator[Reader]:
    machine = Machine(ROOT, default_cache())
    try:
        machine.start()
        reader = Reader(lambda _: machine.terminal({}))
        reader.terminal().run(SET_UP)
        yield reader
    finally:
        machine.stop()


@pytest.mark.parametrize(
    "page",
    [
        "behind-a-router.md",
        "single-host-or-multi-host.md",
        pytest.param("use-ansible.md", marks=WITH_A_CLIENT),
        pytest.param("use-python.md", marks=WITH_A_CLIENT),
        pytest.param("use-the-openstack-cli.md", marks=WITH_A_CLIENT),
        "why-has-my-vm-no-address.md",
    ],
)
def test_a_page_for_a_fleet_is_true(page: str, in_the_lab: Reader) -> None:
    read(page, in_the_lab)


def test_the_page_about_nova_is_true(lab: Lab, in_the_lab: Reader) -> None:
    server = lab.node("server")
    lab.spawn("server", "compute", sys.executable, str(COMPUTE_API), "8774", "http_basic")
    in_the_lab.terminal().run(CONTROLLER)
    read("behind-nova.md", in_the_lab)
    told = server.log("compute")
    lab.wait_for(lambda: told.read_text().endswith("\n"), EVENT_S, "the compute API is told")
    (event,) = map(json.loads, told.read_text().splitlines())
    assert event == {
        "server_uuid": lab.api.find("ports", "vm1")["device_id"],
        "name": "network-vif-plugged",
        "status": "completed",
        "tag": lab.api.find("ports", "vm1")["id"],
    }


@pytest.mark.long
def test_the_page_for_libvirt_is_true(on_a_machine: Reader) -> None:
    on_a_machine.terminal().run(SETTINGS)
    read("use-libvirt.md", on_a_machine)


@pytest.mark.long
def test_the_page_for_those_who_come_from_nova_is_true(on_a_machine: Reader) -> None:
    read("from-nova-network.md", on_a_machine)
