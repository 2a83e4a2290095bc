"""Settings of the cloud's programs; the parts that the pages show are read from the pages."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.docs.page import FENCE

PAGES = Path(__file__).parents[3] / "docs/how-to"
BEHIND_NOVA, USE_KEYSTONE = "behind-nova.md", "use-keystone.md"

IDENTITY_PORT, COMPUTE_PORT, PLACEMENT_PORT, IMAGE_PORT = 5000, 8774, 8778, 9292
ADMIN_PASSWORD, MEMBER_PASSWORD = "wonderland", "looking-glass"
ADMIN = {
    "OS_AUTH_URL": f"http://controller:{IDENTITY_PORT}/v3",
    "OS_USERNAME": "admin",
    "OS_PASSWORD": ADMIN_PASSWORD,
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default",
    "OS_IDENTITY_API_VERSION": "3",
}
# What a cloud has before it gets Lessor, and a member.
OWN_COMMANDS = f"""openstack user create nova --project service --password secret
openstack role add --user nova --project service service
openstack service create compute --name nova
openstack endpoint create compute public http://controller:{COMPUTE_PORT}/v2.1 --region RegionOne
openstack endpoint create compute internal http://controller:{COMPUTE_PORT}/v2.1 --region RegionOne
openstack project create blue
openstack user create alice --project blue --password {MEMBER_PASSWORD}
openstack role add --user alice --project blue member"""

DATABASES = ("nova_api", "nova", "nova_cell0", "placement")
NOVA_USER = f"""auth_type = password
auth_url = http://controller:{IDENTITY_PORT}/v3
username = nova
password = secret
user_domain_name = Default
project_name = service
project_domain_name = Default"""
NOVA_CONF = f"""[DEFAULT]
compute_driver = taps.TapDriver
state_path = /run/nova
transport_url = rabbit://guest:guest@controller:5672/
vif_plugging_timeout = 60
[api_database]
connection = %(nova_api)s
[database]
connection = %(nova)s
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 1
[oslo_concurrency]
lock_path = /run/nova
[vnc]
enabled = false
[glance]
endpoint_override = http://controller:{IMAGE_PORT}
[placement]
endpoint_override = http://controller:{PLACEMENT_PORT}
{NOVA_USER}
[keystone_authtoken]
{NOVA_USER}
[service_user]
send_service_user_token = true
{NOVA_USER}
"""
PLACEMENT_CONF = f"""[placement_database]
connection = %(placement)s
[keystone_authtoken]
{NOVA_USER}
"""
RABBITMQ_CONF = """listeners.tcp.1 = 0.0.0.0:5672
loopback_users = none
"""
RABBITMQ = {
    "HOME": "/run/rabbitmq",
    "RABBITMQ_NODENAME": "rabbit@localhost",
    "RABBITMQ_ENABLED_PLUGINS_FILE": "/run/rabbitmq/plugins",
    "RABBITMQ_MNESIA_BASE": "/run/rabbitmq/mnesia",
    "RABBITMQ_LOG_BASE": "/run/rabbitmq/log",
    "RABBITMQ_LOGS": "-",
}


def files(socket: Path) -> dict[str, str]:
    """Return the settings files by name.

    Args:
        socket: the folder of PostgreSQL's unix socket.
    """
    urls = {name: _url(name, socket) for name in DATABASES}
    shown = fragment(BEHIND_NOVA, "[neutron]\nauth_type = password")
    shown += fragment(BEHIND_NOVA, "[os_vif_ovs]")
    return {
        "nova.conf": NOVA_CONF % urls + shown,
        "placement.conf": PLACEMENT_CONF % urls,
        "rabbitmq.conf": RABBITMQ_CONF,
    }


def _url(database: str, socket: Path) -> str:
    return f"postgresql+psycopg2://lessor@/{database}?host={socket}"


def set_up(programs: Path, folder: Path, socket: Path) -> str:
    """Return the shell script that makes the tables of Nova and Placement, and Nova's cells."""
    nova = f"{programs}/nova-manage --config-file {folder}/nova.conf"
    cell0 = _url("nova_cell0", socket)
    return f"""{programs}/placement-manage --config-file {folder}/placement.conf db sync
{nova} api_db sync
{nova} cell_v2 map_cell0 --database_connection '{cell0}'
{nova} cell_v2 create_cell --name cell1
{nova} db sync"""


def commands() -> list[list[str]]:
    """Return the words after `openstack` of what an administrator types."""
    typed = _first_block(USE_KEYSTONE, "sh", "openstack ")
    typed += OWN_COMMANDS + "\n" + _first_block(BEHIND_NOVA, "console", "openstack ")
    words = [shlex.split(line.removeprefix("$ ")) for line in typed.splitlines()]
    assert {program for program, *_ in words} == {"openstack"}
    return [rest for _, *rest in words]


def lessor_with_keystone() -> str:
    """Return the commands that write the settings of a server that uses Keystone."""
    return _first_block(USE_KEYSTONE, "sh", "cat >/etc/lessor/lessor.conf")


def lessor_with_nova() -> str:
    """Return what such a server is told of Nova."""
    return fragment(BEHIND_NOVA, "[nova]")


def fragment(page: str, begin: str) -> str:
    """Return a part of a settings file that a page shows, by what it begins with."""
    (found,) = [text for text in _blocks(page, "ini") if text.startswith(begin)]
    return found


def _first_block(page: str, kind: str, part: str) -> str:
    return next(text for text in _blocks(page, kind) if part in text)


def _blocks(page: str, kind: str) -> list[str]:
    """Return what stands in a page's blocks; the page about Keystone has all on one machine."""
    text = (PAGES / page).read_text().replace("127.0.0.1", "controller")
    return [match[3] for match in FENCE.finditer(text) if match[1] == kind]
