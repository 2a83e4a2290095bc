from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from lessor.core.firewall.drop_sets import SETS
from lessor.core.firewall.tap_guard import NAME, Others, guard_ruleset
from lessor.core.firewall.tap_guard_rules import CHAINS, COUNTERS
from lessor.core.state import Gateway
from lessor.core.vmport import PortSecurity

TAP, MAC, MAC2 = "tap3f2a9c1e-5b", "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
SERVER = IPv4Address("10.0.0.1")


def guard(
    tap: str = TAP, *sources: str, macs: tuple[str, ...] = (MAC,), local: bool = False
) -> PortSecurity:
    pairs = tuple((mac, IPv4Network(block)) for mac in macs for block in sources)
    return PortSecurity(tap, "br100", MAC, macs, pairs, (SERVER,), local)


def gateway(
    *, isolated: bool = False, external: bool = False, interface: str | None = "eth1"
) -> Gateway:
    block = IPv4Network("10.0.0.0/24")
    return Gateway("n", "s", "br100", interface, block, SERVER, external, isolated)


def elements(text: str) -> dict[str, str]:
    """Return what each set is filled with; sets that are empty aside."""
    rows = (line.split(" ", 5) for line in text.splitlines() if line.startswith("add element "))
    return {row[4]: row[5] for row in rows}


def test_a_guarded_tap_is_in_the_sets_by_its_name() -> None:
    ruleset = guard_ruleset([guard(TAP, "10.0.0.5/32", "10.9.0.0/16")], [])
    assert ruleset.name == NAME == "nft bridge lessor"
    assert elements(ruleset.text) == {
        "taps": f'{{ "{TAP}" }}',
        "members": f'{{ "{TAP}" }}',
        "origins": f'{{ "{TAP}" : goto from_guarded }}',
        "guarded": f'{{ "{TAP}" }}',
        "hairpins": f'{{ "{TAP}" . "{TAP}" }}',
        "macs": f'{{ "{TAP}" . {MAC} }}',
        "clients": f'{{ "{TAP}" . 0x{MAC.replace(":", "")} }}',
        "addresses": f'{{ "{TAP}" . {MAC} . 10.0.0.5 }}',
        "blocks": f'{{ "{TAP}" . {MAC} . 10.9.0.0/16 }}',
        "quotable": f'{{ "{TAP}" . 0x0a000005 }}',
        "may_route": f'{{ "{TAP}" }}',
        "dhcp_servers": f'{{ "{TAP}" . 10.0.0.1 }}',
        "dhcp_server_ids": f'{{ "{TAP}" . 0x0a000001 }}',
        "server_ids": "{ 0x0a000001 }",
        "limits": f'{{ "{TAP}" : "dhcp_{TAP}" }}',
    }
    assert f"add limit bridge lessor dhcp_{TAP} {{ rate over 20/second" in ruleset.text


def test_a_tap_without_port_security_is_marked_and_limited_and_nothing_more() -> None:
    filled = elements(guard_ruleset([guard(macs=())], []).text)
    assert filled.keys() == {"taps", "members", "origins", "open", "hairpins", "limits"}
    assert filled["origins"] == f'{{ "{TAP}" : goto from_open }}'


def test_interfaces_and_an_operators_ports_are_members_too() -> None:
    filled = elements(guard_ruleset([guard()], [gateway()], Others(wires=["veth7"])).text)
    assert filled["wires"] == '{ "eth1", "veth7" }'
    assert filled["members"] == f'{{ "eth1", "{TAP}", "veth7" }}'
    assert filled["origins"] == (
        f'{{ "eth1" : goto from_wire, "{TAP}" : goto from_guarded, "veth7" : goto from_wire }}'
    )


def test_a_tap_that_an_operator_names_as_well_is_guarded() -> None:
    filled = elements(guard_ruleset([guard()], [], Others(wires=[TAP])).text)
    assert filled["origins"] == f'{{ "{TAP}" : goto from_guarded }}'


def test_number_of_rules_does_not_depend_on_the_taps() -> None:
    many = guard_ruleset([guard(f"tap{n}", f"10.0.0.{n}/32") for n in range(1, 200)], [gateway()])
    rules = [line for line in many.text.splitlines() if line.startswith("add rule ")]
    assert len(rules) == sum(len(chain.rules) for chain in CHAINS)


def grouped(tap: str, name: str, bridge: str = "br100") -> PortSecurity:
    return PortSecurity(tap, bridge, MAC, (MAC,), (), group=name)


def test_taps_of_several_networks_on_a_bridge_are_apart() -> None:
    taps = [grouped("t1", "red"), grouped("t2", "red"), grouped("t3", "10.0.0.0/8")]
    text = guard_ruleset([*taps, grouped("t4", "red", "br101")], []).text
    assert elements(text)["groups"] == (
        '{ "t1" : jump of_br100_red, "t2" : jump of_br100_red, "t3" : jump of_br100_10.0.0.0_8 }'
    )
    drop = "counter name between_networks drop"
    assert (
        f'add rule bridge lessor of_br100_red oifname @taps oifname != {{ "t1", "t2" }} {drop}\n'
        in text
    )
    other = 'of_br100_10.0.0.0_8 oifname @taps oifname != { "t3" }'
    assert f"add rule bridge lessor {other} {drop}\n" in text


def test_frames_are_looked_up_by_group_only_where_a_bridge_has_several() -> None:
    alone, apart = (
        guard_ruleset([grouped("t1", "red"), grouped("t2", other)], []).text
        for other in ("red", "blue")
    )
    assert "of_" not in alone
    assert "rule bridge lessor to_member iifname vmap @groups\n" not in alone
    assert "rule bridge lessor to_member iifname vmap @groups\n" in apart


def test_macs_of_ports_are_those_that_begin_as_base_mac() -> None:
    bases = {"fa:16:3e:00:00:00": "fa:16:3e:00:00:00-fa:16:3e:ff:ff:ff"}
    bases["fa:16:3e:4f:00:00"] = "fa:16:3e:4f:00:00-fa:16:3e:4f:ff:ff"
    for base, macs in bases.items():
        text = guard_ruleset([], [], Others(base_mac=base)).text
        assert elements(text)["vm_macs"] == f"{{ {macs} }}"


def test_equal_guards_in_another_order_are_equal_text() -> None:
    one, other = guard("tap1", "10.0.0.5/32"), guard("tap2", "10.0.0.6/32")
    assert guard_ruleset([one, other], []) == guard_ruleset([other, one], [])


def test_blocks_that_overlap_are_joined() -> None:
    """An interval set takes no overlap; that of another MAC is none."""
    blocks = ("10.0.0.0/24", "10.0.0.0/8", "10.0.0.7/32")
    filled = elements(guard_ruleset([guard(TAP, *blocks, macs=(MAC, MAC2))], []).text)
    assert filled["blocks"] == f'{{ "{TAP}" . {MAC} . 10.0.0.0/8, "{TAP}" . {MAC2} . 10.0.0.0/8 }}'
    assert "addresses" not in filled


def test_counters_are_never_flushed_or_deleted() -> None:
    text = guard_ruleset([guard()], []).text
    assert all(f"add counter bridge lessor {name}\n" in text for name in COUNTERS)
    assert "delete " not in text
    assert "flush counter" not in text
    assert "flush table" not in text


def test_local_dhcp_is_told_by_tap_mac_and_server_of_its_wire() -> None:
    filled = elements(guard_ruleset([guard(local=True), guard("tap2")], [gateway()]).text)
    assert filled["local_taps"] == f'{{ "{TAP}" . "eth1" }}'
    assert filled["local_macs"] == f'{{ "eth1" . {MAC} }}'
    assert filled["local_servers"] == '{ "eth1" . 10.0.0.1 }'
    assert "isolated" not in filled


def test_a_shared_address_is_isolated_on_its_wire() -> None:
    filled = elements(guard_ruleset([], [gateway(isolated=True)]).text)
    assert filled["isolated"] == filled["local_servers"] == '{ "eth1" . 10.0.0.1 }'


def test_a_bridge_without_a_wire_isolates_nothing() -> None:
    text = guard_ruleset([guard(local=True)], [gateway(isolated=True, interface=None)]).text
    assert not {"isolated", "local_taps", "local_macs", "local_servers"} & elements(text).keys()


def test_forced_ranges_and_metadata_are_lifted_from_all_ports_of_an_external_network() -> None:
    taps = [guard("tap1"), guard("tap2", macs=())]
    filled = elements(
        guard_ruleset(
            taps, [gateway(external=True)], Others(lifted=[IPv4Network("192.0.2.0/24")])
        ).text
    )
    assert filled["inside"] == "{ 10.0.0.0/24 . 10.0.0.0/24 }"
    assert filled["lifts"].count(" . 192.0.2.0/24") == 3
    assert filled["lifts"].count(" . 169.254.169.254/32") == 3


def test_nothing_is_lifted_where_this_host_is_the_gateway() -> None:
    text = guard_ruleset([guard()], [gateway()], Others(lifted=[IPv4Network("192.0.2.0/24")])).text
    assert "lifts" not in elements(text)


def test_nothing_is_declared_of_a_tap_to_count_what_it_is_refused() -> None:
    one, many = (guard_ruleset([guard(f"tap{n}") for n in range(m)], []).text for m in (1, 9))
    assert len(one.split("add counter")) == len(many.split("add counter"))


def test_what_rules_have_noted_outlives_every_change_of_them() -> None:
    text = guard_ruleset([guard()], []).text
    for one in SETS:
        assert f"add set bridge lessor {one.name} {{ type" in text
        assert f"flush set bridge lessor {one.name}\n" not in text
