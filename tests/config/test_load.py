"""Settings files to settings objects."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lessor.config import reference
from lessor.config.load import default_address, load_agent, load_server
from lessor.errors import ConfigError
from lessor.settings import AgentSettings, FlatMapping, ServerSettings

NOVA_CONF = """
[DEFAULT]
network_manager = nova.network.manager.FlatDHCPManager
firewall_driver = nova.virt.firewall.NoopFirewallDriver
flat_network_bridge = br100
flat_interface = eth1
state_path = /var/lib/nova
networks_path = $state_path/networks
dhcpbridge = $bindir/nova-dhcpbridge
dhcpbridge_flagfile = /etc/nova/nova.conf
my_ip = 192.0.2.7
host = net1
metadata_host = $my_ip
routing_source_ip = $my_ip
multi_host = True
force_snat_range = 10.0.0.0/8
force_snat_range = 172.16.0.0/12
dmz_cidr = 10.1.0.0/16,10.2.0.0/16
dns_server = 192.0.2.53
dns_server = 192.0.2.54
network_host = ctl
[database]
connection = mysql+pymysql://nova:secret@db/nova
[quota]
fixed_ips = 20
[libvirt]
virt_type = kvm
"""


def written(folder: Path, text: str) -> list[Path]:
    file = folder / "lessor.conf"
    file.write_text(text)
    return [file]


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_server(written(folder, text))
    return str(caught.value).splitlines()


def test_without_options_the_server_has_the_defaults_that_settings_state(tmp_path: Path) -> None:
    assert load_server(written(tmp_path, "")) == ServerSettings(state_dir=Path("/var/lib/lessor"))


def test_without_options_the_agent_has_the_defaults_that_settings_state(tmp_path: Path) -> None:
    settings = load_agent(written(tmp_path, "[DEFAULT]\nhost = h1\nmy_ip = 192.0.2.1\n"))
    assert settings == AgentSettings(
        state_dir=Path("/var/lib/lessor"), host="h1", my_ip=IPv4Address("192.0.2.1")
    )


def test_files_of_an_agent_are_in_its_state_dir_unless_said_otherwise(tmp_path: Path) -> None:
    settings = load_agent(written(tmp_path, ""), {"state_dir": tmp_path})
    assert settings.token_file == tmp_path / "agent-token"
    assert settings.networks_path == tmp_path / "networks"


def test_a_nova_conf_works_as_it_is(tmp_path: Path) -> None:
    agent = load_agent(written(tmp_path, NOVA_CONF))
    assert agent.flat_mappings == (
        FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1"),
    )
    assert agent.networks_path == Path("/var/lib/nova/networks")
    assert agent.dhcpbridge == ""
    assert agent.metadata_host is None
    assert agent.routing_source_ip == IPv4Address("192.0.2.7")
    assert agent.force_snat_range == (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"))
    assert agent.dmz_cidr == (IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16"))
    assert agent.dns_server == ("192.0.2.53", "192.0.2.54")
    server = load_server(written(tmp_path, NOVA_CONF))
    assert (server.multi_host, server.fixed_ips_quota, server.connection) == (True, 20, "")


def test_options_that_are_not_ours_are_named_in_one_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        load_server(written(tmp_path, NOVA_CONF))
    [warning] = logs
    assert (warning["log_level"], warning["event"]) == ("warning", "options ignored")
    for name in (
        "firewall_driver (see gateway_firewall)",
        "[libvirt] virt_type",
        "network_manager",
        "dhcpbridge_flagfile",
        "[database] connection",
    ):
        assert name in warning["options"]
    assert "secret" not in warning["options"]


def test_without_options_of_others_nothing_is_warned_of(tmp_path: Path) -> None:
    with capture_logs() as logs:
        load_server(written(tmp_path, "[DEFAULT]\nmulti_host = true\n"))
    assert logs == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    lines = refused(
        tmp_path,
        "[DEFAULT]\ndhcp_lease_time = 0\nmetadata_mode = both\nflat_mappings = p2:b2:e2,p2:b3:e3\n"
        "force_snat_range = 10.0.0.0/8,x\nlisten = 0.0.0.0:9696\n",
    )
    file = tmp_path / "lessor.conf"
    assert f"dhcp_lease_time='0' ({file}): should be greater than or equal to 1" in lines
    assert [line.partition("=")[0].partition(":")[0] for line in lines] == [
        "dhcp_lease_time",
        "force_snat_range",
        "metadata_mode",
        "flat_mappings",
        "listen",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(
            "flat_network_bridge = br-1234567890123",
            "16 characters; Linux's maximum is 15",
            id="bridge-name-of-16",
        ),
        pytest.param("flat_interface = eth0/1", "name of an interface", id="slash-in-interface"),
        pytest.param("flat_mappings = p:b:i:x", "must be NAME:BRIDGE:INTERFACE", id="mapping"),
        pytest.param("flat_mappings = p:br100,q:br100", "bridge br100 occurs twice", id="twice"),
        pytest.param("flat_mappings = p:br1:br1", "can't be both a bridge", id="bridge-in-itself"),
        pytest.param("fixed_range = 10.0.0.0/33", "must be an IPv4 block", id="block"),
        pytest.param("base_mac = 01:16:3e:00:00:00", "group MAC", id="multicast-mac"),
        pytest.param("base_mac = fa:16", "must be a MAC", id="mac"),
        pytest.param("listen = 127.0.0.1:99999", "is not 0 to 65535", id="port"),
        pytest.param("listen = ::1:9696", "IPv4 address", id="ipv6-listener"),
        pytest.param("iptables_top_regex = (", "is not a regular expression", id="regex"),
        pytest.param("state_dir = here", "must be an absolute path", id="relative-path"),
        pytest.param("server_url = host:9697", "must be a URL", id="url"),
        pytest.param("host = a b", "must be a host name", id="host"),
        pytest.param("networks_path = $nowhere/x", "nowhere", id="unknown-reference"),
        pytest.param(
            "[database]\nconnection = oracle://x:y@z/w", "no driver for oracle", id="database"
        ),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(tmp_path: Path, line: str, words: str) -> None:
    [said] = refused(tmp_path, f"[DEFAULT]\n{line}\n")
    assert words in said


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        pytest.param("http://a:9697", ("http://a:9697",), id="one"),
        pytest.param("http://b:1/, https://a:2", ("http://b:1", "https://a:2"), id="in-order"),
    ],
)
def test_an_agent_is_told_one_server_or_several(
    tmp_path: Path, text: str, urls: tuple[str, ...]
) -> None:
    written_there = load_agent(written(tmp_path, f"[DEFAULT]\nserver_url = {text}\n"))
    assert written_there.server_url == urls
    assert load_agent((), {"server_url": text}).server_url == urls


def test_an_agent_without_any_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="server_url='': names no server"):
        load_agent(written(tmp_path, "[DEFAULT]\nserver_url =\n"))


def test_a_bridge_name_of_15_characters_is_taken(tmp_path: Path) -> None:
    text = "[DEFAULT]\nflat_network_bridge = br-123456789012\n"
    [mapping] = load_server(written(tmp_path, text)).flat_mappings
    assert mapping.bridge == "br-123456789012"


def test_flat_mappings_come_after_physnet1(tmp_path: Path) -> None:
    settings = load_server(
        written(
            tmp_path,
            "[DEFAULT]\nflat_network_bridge = br100\nflat_mappings = p2:br101:eth2, p3:br102\n",
        )
    )
    assert [(m.physical_network, m.bridge, m.interface) for m in settings.flat_mappings] == [
        ("physnet1", "br100", None),
        ("p2", "br101", "eth2"),
        ("p3", "br102", None),
    ]


def test_an_empty_value_is_unset(tmp_path: Path) -> None:
    text = "[DEFAULT]\nflat_network_bridge =\nfixed_range =\nnetwork_host =\n"
    settings = load_server(written(tmp_path, text))
    assert (settings.flat_mappings, settings.fixed_range, settings.network_host) == ((), None, None)


def test_the_command_line_wins_over_files_and_a_later_file_over_an_earlier(tmp_path: Path) -> None:
    first, second = tmp_path / "1.conf", tmp_path / "2.conf"
    first.write_text("[DEFAULT]\nlisten = 127.0.0.1:1\ndhcp_lease_time = 1\n")
    second.write_text("[DEFAULT]\nlisten = 127.0.0.1:2\n")
    settings = load_server(
        [first, second], {"state_dir": tmp_path, "agent_listen": "127.0.0.1:3", "debug": None}
    )
    assert settings.listen == ("127.0.0.1", 2)
    assert settings.agent_listen == ("127.0.0.1", 3)
    assert settings.dhcp_lease_time == 1
    assert settings.state_dir == tmp_path


def test_what_is_wrong_on_the_command_line_is_said_to_be_from_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_server(written(tmp_path, ""), {"agent_listen": "x", "no_such": "1"})
    assert str(caught.value).splitlines() == [
        "agent_listen='x' (command line): must be ADDRESS:PORT with an IPv4 address, 127.0.0.1:9696",
        "no_such='1' (command line): unknown option",
    ]


def test_an_option_of_another_section_is_said_with_its_section(tmp_path: Path) -> None:
    said = {"database.connection": "sqlite:////x", "quota.fixed_ips": "7"}
    settings = load_server(written(tmp_path, ""), said)
    assert (settings.connection, settings.fixed_ips_quota) == ("sqlite:////x", 7)


def test_the_api_listens_beyond_loopback_only_if_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loopback only; set auth_strategy, or allow it"):
        load_server(written(tmp_path, ""), {"listen": "192.0.2.1:9696"})
    told = {"listen": "192.0.2.1:9696", "insecure_listen": True}
    assert load_server(written(tmp_path, ""), told).listen == ("192.0.2.1", 9696)


@pytest.mark.parametrize(
    ("network_host", "may_own"),
    [
        pytest.param("", True, id="unset"),
        pytest.param("h1", True, id="itself"),
        pytest.param("h2", False, id="another"),
    ],
)
def test_network_host_says_which_host_may_own_networks(
    tmp_path: Path, network_host: str, *, may_own: bool
) -> None:
    text = f"[DEFAULT]\nhost = h1\nnetwork_host = {network_host}\n"
    assert load_agent(written(tmp_path, text)).network_host is may_own


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings file /\S+/none.conf does not exist"):
        load_server([tmp_path / "none.conf"])


def test_a_file_that_is_no_settings_file_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "lessor.conf:1" in refused(tmp_path, "flat_interface = eth1\n")[0]


def test_a_secret_is_not_in_a_message(tmp_path: Path) -> None:
    lines = refused(tmp_path, "[database]\nconnection = mongo://u:hunter2@h/d\n")
    assert "hunter2" not in "".join(lines)


def test_proxy_mode_needs_a_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="metadata_proxy_shared_secret"):
        load_agent(written(tmp_path, "[DEFAULT]\nmetadata_mode = proxy\n"))


def test_my_ip_is_an_address_of_this_host() -> None:
    assert isinstance(default_address(), IPv4Address)


def test_the_sample_with_all_its_defaults_taken_changes_nothing(tmp_path: Path) -> None:
    lines = reference.sample().splitlines()
    said = [ln[1:] if ln.startswith("#") and not ln.startswith("# ") else ln for ln in lines]
    text = "\n".join(line for line in said if "<" not in line)
    assert load_server(written(tmp_path, text)) == load_server(written(tmp_path, ""))
    assert load_agent(written(tmp_path, text)) == load_agent(written(tmp_path, ""))


NEUTRON_CONF = """
[DEFAULT]
dhcp_agents_per_network = 2
dhcp_down_time = 5
[ml2]
type_drivers = flat,vxlan
project_network_types = vxlan,flat
[ml2_type_vxlan]
vni_ranges = 10:20,1000:2000
[ovs]
local_ip = 192.0.2.7
integration_bridge = br-one
tunnel_bridge = br-two
datapath_type = netdev
ovsdb_connection = tcp:127.0.0.1:6640
[agent]
vxlan_udp_port = 8472
"""


def test_options_of_overlay_networks_are_neutrons(tmp_path: Path) -> None:
    files = written(tmp_path, NEUTRON_CONF)
    server, agent = load_server(files), load_agent(files)
    assert server.vni_ranges == ((10, 20), (1000, 2000))
    assert server.project_network_types == ("vxlan", "flat")
    assert (server.dhcp_agents_per_network, server.dhcp_down_time) == (2, 5)
    assert (server.integration_bridge, server.datapath_type) == ("br-one", "netdev")
    assert agent.local_ip == IPv4Address("192.0.2.7")
    assert (agent.integration_bridge, agent.tunnel_bridge) == ("br-one", "br-two")
    assert (agent.datapath_type, agent.ovsdb_connection, agent.vxlan_udp_port) == (
        "netdev",
        "tcp:127.0.0.1:6640",
        8472,
    )


def test_neutrons_spelling_of_the_section_of_agents_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text("[AGENT]\navailability_zone = east\n[ovs]\nlocal_ip = 2001:db8::4\n")
    agent = load_agent([file])
    assert (agent.availability_zone, str(agent.local_ip)) == ("east", "2001:db8::4")
    assert "ignored" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[ml2_type_vxlan]\nvni_ranges = 1:16777216", "16777215"),
        ("[ml2_type_vxlan]\nvni_ranges = 0:5", "1:16777215"),
        ("[ml2_type_vxlan]\nvni_ranges = 5:1", "5:1"),
        ("[ml2_type_vxlan]\nvni_ranges = 5", "FIRST:LAST"),
        ("[ml2_type_vxlan]\nvni_ranges = 1:9,9:20", "overlap"),
        ("[ml2]\nproject_network_types = vlan", "neither flat nor vxlan"),
        ("[ovs]\nlocal_ip = 127.0.0.1", "network between hosts"),
        ("[ovs]\nlocal_ip = fe80::1", "network between hosts"),
        ("[ovs]\nlocal_ip = 255.255.255.255", "network between hosts"),
        ("[ovs]\nlocal_ip = 192.0.2", "IPv4 or IPv6"),
        ("[ovs]\ndatapath_type = kernel", "system or netdev"),
        ("dhcp_agents_per_network = 0", "dhcp_agents_per_network"),
        ("[agent]\nvxlan_udp_port = 65536", "vxlan_udp_port"),
    ],
)
def test_a_wrong_option_of_overlay_networks_is_said(tmp_path: Path, text: str, words: str) -> None:
    [line] = refused(tmp_path, text if text.startswith("[") else f"[DEFAULT]\n{text}")
    assert words in line


def test_two_bridges_of_open_vswitch_are_two(tmp_path: Path) -> None:
    files = written(tmp_path, "[ovs]\nintegration_bridge = br\ntunnel_bridge = br\n")
    with pytest.raises(ConfigError, match="must differ"):
        load_agent(files)


NOVA = "[nova]\nendpoint_override = http://c:8774/v2.1/\nauth_type = {}\n{}"


def test_without_a_place_nova_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text("[nova]\nauth_type = password\nusername = neutron\npassword = x\n")
    assert load_server([file]).nova is None


def test_nova_is_told_as_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text(NOVA.format("http_basic", "username = neutron\npassword = s3cret\n"))
    nova = load_server([file]).nova
    assert nova is not None
    assert (nova.auth_type, nova.endpoint_override) == ("http_basic", "http://c:8774/v2.1")
    assert (nova.username, nova.password, nova.timeout) == ("neutron", "s3cret", 10)
    assert "s3cret" not in repr(nova)


def test_nova_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text(NOVA.format("password", "username = neutron\n"))
    with pytest.raises(ConfigError, match="needs auth_url, password, project_name too"):
        load_server([file])


def test_a_password_in_a_url_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "lessor.conf"
    file.write_text("[nova]\nendpoint_override = http://lessor:s3cret@c:8774/v2.1\n")
    with pytest.raises(ConfigError, match="without a user name") as caught:
        load_server([file])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "blocks", "connected"),
    [
        pytest.param("", (), True, id="unset"),
        pytest.param("no_forward_cidr =", (), False, id="empty"),
        pytest.param("no_forward_cidr = 192.0.2.9/24", ("192.0.2.0/24",), False, id="listed"),
        pytest.param("no_forward_cidr = connected, 10.0.0.0/8", ("10.0.0.0/8",), True, id="both"),
    ],
)
def test_no_forward_cidr_has_blocks_and_the_word_for_the_hosts_networks(
    tmp_path: Path, text: str, blocks: tuple[str, ...], connected: bool
) -> None:
    settings = load_agent(written(tmp_path, f"[DEFAULT]\n{text}\n"))
    assert settings.no_forward_cidr == tuple(map(IPv4Network, blocks))
    assert settings.no_forward_connected == connected


def test_a_wrong_no_forward_cidr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be connected, or an IPv4 block"):
        load_agent(written(tmp_path, "[DEFAULT]\nno_forward_cidr = elsewhere\n"))
