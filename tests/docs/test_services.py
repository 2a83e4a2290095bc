"""Our systemd services serve flat and vxlan networks within their limits.

Labs start agents as root with all rights. Only a machine whose pid 1 is systemd shows what is
missing below the unit's limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.lab.wait import wait_for
from tests.docs.machine import LEND_ENVIRONMENT, SYSTEMD, Machine
from tests.docs.terminal import Terminal

ROOT = Path(__file__).parents[2]
INSTALL = f"""git config --global safe.directory '*'
git clone -q file:///mnt/repository /opt/lessor && cd /opt/lessor
{LEND_ENVIRONMENT}
ln -s /opt/lessor/.venv/bin/lessor /usr/bin/lessor
cp /mnt/repository/packaging/systemd/lessor-*.service /etc/systemd/system/
mkdir -p /etc/lessor /run/openvswitch
systemctl daemon-reload"""
SETTINGS = """cat > /etc/lessor/lessor.conf <<END
[DEFAULT]
flat_network_bridge = br100
public_interface = eth0
resync_interval = 1
[ovs]
local_ip = 192.0.2.10
datapath_type = netdev
END"""
# openvswitch-switch.service ends where the kernel lacks the module; its daemons do without it
OPEN_VSWITCH = """ovsdb-tool create /run/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /run/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --log-file=/run/ovsdb.log
ovs-vsctl --no-wait init
ovs-vswitchd --pidfile --detach --log-file=/run/vswitchd.log"""
SERVE = """systemctl start lessor-server
mkdir -p /var/lib/lessor-agent
(umask 077; lessor host add "$(hostname)" > /var/lib/lessor-agent/agent-token)
systemctl start lessor-agent"""
NETWORKS = {"blue": "--type flat --cidr 10.0.0.0/24", "red": "--type vxlan --cidr 10.30.0.0/24"}
SERVERS = "pgrep --full '^dnsmasq' | sort | tr '\\n' ' '"  # each with its lease helper


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    machine = Machine(ROOT, tmp_path)
    try:
        machine.start()
        yield machine.terminal({})
    finally:
        machine.stop()


def plugged(terminal: Terminal, network: str) -> str:
    """Start a VM whose hypervisor makes its tap; return its port's address."""
    asked = f"lessor port create --network {network} --host fresh --name vm-{network} --json"
    port = json.loads(terminal.run(f"{asked} > /run/{network}.json; cat /run/{network}.json"))
    tap, mac = f"tap{port['id'][:11]}", port["mac_address"]
    terminal.run(
        f"ip netns add {network}; ip link add {tap} type veth peer name eth0 address {mac} netns {network}\n"
        f"ip -n {network} link set lo up; ip -n {network} link set eth0 up; ip link set {tap} up"
    )
    return str(port["fixed_ips"][0]["ip_address"])


def is_served(terminal: Terminal, network: str, address: str) -> bool:
    asked = f"ip netns exec {network} busybox udhcpc -f -q -n -t 2 -T 1 -i eth0 -s /bin/true"
    return f"lease of {address} obtained" in terminal.run(asked, may_fail=True)


@pytest.mark.lab
@pytest.mark.skipif(not SYSTEMD.exists(), reason="needs systemd")
def test_the_services_serve_flat_and_vxlan_networks_and_are_restarted_unnoticed(
    terminal: Terminal,
) -> None:
    for part in (INSTALL, SETTINGS, OPEN_VSWITCH, SERVE):
        terminal.run(part)
    for network, options in NETWORKS.items():
        terminal.run(f"lessor network create {network} {options} --json > /dev/null")
    vms = {network: plugged(terminal, network) for network in NETWORKS}
    try:
        wait_for(lambda: all(is_served(terminal, *vm) for vm in vms.items()), 30, "VMs are served")
        # what the agent made is the host's, not only its own unit's
        terminal.run("for name in $(ls /run/netns); do ip netns exec $name true; done")
        before = terminal.run(SERVERS)
        for _ in range(2):
            terminal.run("systemctl restart lessor-agent; sleep 1")
            assert all(is_served(terminal, *vm) for vm in vms.items())
        assert terminal.run(SERVERS) == before
        host = json.loads(terminal.run("lessor host show fresh --json"))
        assert (host["problems"], host["counts"]["put_back"]) == ([], 0)
    except (AssertionError, TimeoutError) as error:
        told = "lessor status; ls -l /run/netns; journalctl --unit lessor-agent --output cat | tail -40"
        error.add_note(terminal.run(told, may_fail=True))
        raise
