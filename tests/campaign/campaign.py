"""A campaign: a lab, VMs and clients that never pause, scheduled faults, and final checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lessor.lab.cabling import SERVER as ADDRESS
from lessor.lab.cloud import LabNetwork
from lessor.lab.disks import SmallDisk
from lessor.lab.lab import Lab
from lessor.lab.services import SERVER
from lessor.lab.settings_file import AGENT_PORT
from lessor.lab.state import HostSpec
from tests.campaign.api import Api
from tests.campaign.churn import Churn, pool_of
from tests.campaign.evidence import Witness
from tests.campaign.faults import API, OTHER_AGENTS, OTHER_API, Faults, Programs
from tests.campaign.guest import Control, Guest
from tests.campaign.history import History
from tests.campaign.schedule import OTHER, Fleet, Round, rounds
from tests.postgres import OPTIONS, Cluster, cluster

NETWORK_HOSTS, COMPUTE_HOSTS = ("net1", "net2"), ("cmp1", "cmp2")
SMALL = ("net2", "cmp1")  # hosts whose agent has a disk of its own, which can be full
DISK_MIB, SERVER_DISK_MIB = 16, 64
LEASE_TIME_S = 120  # the shortest that dnsmasq gives
DURABLE = ("fsync=off", "synchronous_commit=on")  # a crash of PostgreSQL alone loses nothing then
PLACES = (  # network, host, and whether its VM stays
    ("office", "cmp1", True),
    ("office", "cmp2", False),
    ("office", "net2", False),
    ("web", "cmp1", True),
    ("web", "cmp2", False),
    ("red", "cmp1", True),
    ("red", "cmp2", False),
    ("red", "net1", False),
    ("blue", "cmp2", True),
    ("blue", "cmp1", False),
)
READY_S = 60
DISASSOCIATE_S = 30  # from a lease's certain end until its address is free in any case


@dataclass
class Campaign:
    """A run of it."""

    lab: Lab
    fleet: Fleet
    networks: dict[str, LabNetwork]
    programs: Programs
    faults: Faults
    history: History
    evidence: Path
    control: Control = field(default_factory=Control)
    guests: list[Guest] = field(default_factory=list)
    churns: list[Churn] = field(default_factory=list)

    def api(self) -> Api:
        urls = [f"http://127.0.0.1:{port}" for port in (API, OTHER_API)[: len(self.fleet.servers)]]
        return Api(self.history, self.lab.node(SERVER).netns, urls, self.control.over)

    def start_clients(self) -> None:
        for number, (network, host, stays) in enumerate(PLACES):
            made = self.networks[network]
            servers = () if made.multi_host else NETWORK_HOSTS
            self.guests.append(
                Guest(
                    f"vm{number}", self.lab, self.api(), self.control, self.history,
                    network=made, host=host, servers=servers, stays=stays,
                )
            )  # fmt: skip
        for number in range(2):
            self.churns.append(
                Churn(
                    f"client{number}", self.api(), self.control, self.history,
                    networks=list(self.networks.values()), hosts=self.fleet.hosts,
                )
            )  # fmt: skip
        witness = Witness(self.lab, self.guests, self.control, self.evidence)
        for thread in (*self.guests, *self.churns, witness):
            thread.start()

    def break_things(self, seed: int, seconds: float, pace: float = 1.0) -> None:
        """Make one round of faults after the other for so long."""
        ends = time.monotonic() + seconds
        reader = self.api()
        for one in rounds(seed, self.fleet, pace):
            self._round(one)
            self.history.snapshots.append(reader.rows("ports"))
            if time.monotonic() > ends:
                break
        reader.close()

    def _round(self, one: Round) -> None:
        makers = [
            threading.Thread(target=self.faults.make, args=(step, self.history, self.control.over))
            for step in one.steps
        ]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        self.control.over.wait(one.calm_s)

    def stop(self) -> None:
        self.control.settle.set()
        self.control.over.set()
        for thread in (*self.guests, *self.churns):
            thread.join(60)


@contextmanager
def campaign(folder: Path, engine: str) -> Iterator[Campaign]:
    """Make the lab with all that can be broken, and take it away."""
    postgresql = engine == "postgresql"
    fleet = Fleet(
        NETWORK_HOSTS, COMPUTE_HOSTS, (SERVER, OTHER) if postgresql else (SERVER,), SMALL,
        ("net1", "cmp2", SERVER), postgresql,
    )  # fmt: skip
    with ExitStack() as stack:
        database = stack.enter_context(cluster((*OPTIONS, *DURABLE))) if postgresql else None
        disks = _disks(folder)
        for disk in disks.values():
            disk.mount()
            stack.callback(disk.unmount)
        lab = Lab.up(folder, _hosts(fleet), _flags(fleet, database))
        stack.callback(lab.down)
        history = History()
        programs = Programs(lab, history, fleet)
        if postgresql:
            programs.start(SERVER, OTHER)
        stack.enter_context(programs.watched())
        made = Campaign(
            lab,
            fleet,
            _networks(lab),
            programs,
            Faults(lab, programs, fleet, disks, database),
            history,
            folder / "log",
        )
        stack.callback(made.stop)
        made.start_clients()
        Lab.wait_for(
            lambda: all(guest.last for guest in made.guests), READY_S, "every VM has had an address"
        )
        yield made


def _disks(folder: Path) -> dict[str, SmallDisk]:
    nodes = folder.absolute() / "nodes"
    disks = {host: SmallDisk(nodes / host / "state" / "agent", DISK_MIB) for host in SMALL}
    return disks | {SERVER: SmallDisk(nodes / SERVER / "state", SERVER_DISK_MIB)}


def _hosts(fleet: Fleet) -> list[HostSpec]:
    urls = [f"http://{ADDRESS}:{port}" for port in (AGENT_PORT, OTHER_AGENTS)]
    flags = {"server_url": ",".join(urls[: len(fleet.servers)])}
    return [
        HostSpec(name=name, network_host=name in fleet.network_hosts, overlay=True, flags=flags)
        for name in fleet.hosts
    ]


def _flags(fleet: Fleet, database: Cluster | None) -> dict[str, str]:
    flags = {
        "dhcp_lease_time": str(LEASE_TIME_S),
        "fixed_ip_disassociate_timeout": str(DISASSOCIATE_S),
    }
    if database:
        flags["database/connection"] = database.url(database.blank())
    return flags


def _networks(lab: Lab) -> dict[str, LabNetwork]:
    made = {
        "office": lab.network("office", "10.10.0.0/24"),
        "web": lab.network("web", "10.20.0.0/24", multi_host=True),
        "red": lab.network("red", "10.30.0.0/24", kind="vxlan"),
        "blue": lab.network("blue", "10.30.0.0/24", kind="vxlan"),
    }
    for network in made.values():
        lab.api.update("subnets", network.subnet_id, {"allocation_pools": [pool_of(network)]})
    return made
