from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.core.diff import Changes, diff
from lessor.core.firewall.drop_sets import WRONG_MACS, counted, offences
from lessor.core.firewall.gateway_iptables import iptables_gateway_ruleset
from lessor.core.firewall.gateway_nft import GatewayOptions, nft_gateway_ruleset
from lessor.core.firewall.tap_guard import guard_ruleset
from lessor.core.offences import Offence, Reason
from lessor.core.state import Gateway, Ruleset
from lessor.core.vmport import PortSecurity
from lessor.errors import CommandError
from tests.agent.drivers.frames import Namespace, namespaces

pytestmark = pytest.mark.lab

MAC = "fa:16:3e:00:00:01"
GATEWAY = Gateway(
    "n",
    "s",
    "br100",
    "eth1",
    IPv4Network("10.0.0.0/24"),
    IPv4Address("10.0.0.1"),
    external=False,
    isolated=False,
    vm_sources=((IPv4Address("10.0.0.2"), IPv4Address("10.0.0.254")),),
)
OPTIONS = GatewayOptions(
    public_interface="eth0",
    routing_source_ip=IPv4Address("192.0.2.1"),
    dmz_cidr=(IPv4Network("10.128.0.0/24"),),
)
INET = nft_gateway_ruleset([GATEWAY], OPTIONS)
IPTABLES = iptables_gateway_ruleset([GATEWAY], OPTIONS)
COUNTERS = ("nft", "-j", "list", "counters", "table", "bridge", "lessor")
FOREIGN_NFT = """
table inet operator {
  counter seen { packets 7 bytes 700; }
  chain forward { type filter hook forward priority -1; counter name seen ct state new
  }
}
table bridge operator { chain forward { type filter hook forward priority -1;
  }
}
"""
FOREIGN_IPTABLES = """
*filter
:DOCKER-USER - [0:0]
[3:300] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[5:500] -A FORWARD -j DOCKER-USER
[6:600] -A FORWARD -m comment --comment "lessor-like, but theirs" -j ACCEPT
[7:700] -A DOCKER-USER -j RETURN
COMMIT
*nat
[1:100] -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
[2:200] -A POSTROUTING -s 172.18.0.0/16 ! -o docker1 -j MASQUERADE
COMMIT
"""


def guards(*taps: str) -> Ruleset:
    """Rules for taps; one block each, so that interval sets take part."""
    source = ((MAC, IPv4Network("10.0.0.5")), (MAC, IPv4Network("10.9.0.0/16")))
    servers = (IPv4Address("10.0.0.1"),)
    made = [PortSecurity(tap, "br100", MAC, (MAC,), source, servers) for tap in taps]
    return guard_ruleset(made, [GATEWAY])


class Host:
    """Runs programs in a namespace; iptables is the given one. Counts calls; may fail one."""

    def __init__(self, namespace: Namespace, iptables: str = "iptables-nft") -> None:
        self.namespace = namespace
        self.iptables = iptables
        self.calls = 0
        self.fail_at = 0  # the number of the call that fails
        self.fail_after = False  # it fails when all is done, as if we were killed then

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        self.calls += 1
        program = re.sub("^iptables", self.iptables, argv[0])
        fails = self.calls == self.fail_at
        if not fails or self.fail_after:
            answer = self.namespace.run(program, *argv[1:], stdin=stdin, timeout_s=timeout_s)
        if fails:
            raise CommandError(f"{program}: told to fail")
        return answer

    def saved(self) -> str:
        """iptables' rules with counters, comments aside."""
        text = self("iptables-save", "-c")
        return "".join(line for line in text.splitlines(keepends=True) if line[0] != "#")


@pytest.fixture
def host() -> Iterator[Host]:
    with namespaces(1) as (namespace,):
        yield Host(namespace)


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def either(request: pytest.FixtureRequest) -> Iterator[Host]:
    with namespaces(1) as (namespace,):
        yield Host(namespace, request.param)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "rulesets.json"


def converge(driver: RulesetDriver, *wanted: Ruleset) -> Changes[Ruleset]:
    """Make one pass; return what it had to do."""
    changes = diff({one.name: one for one in wanted}, driver.observe())
    driver.apply(changes)
    return changes


BACKENDS = [pytest.param(INET, id="nftables"), pytest.param(IPTABLES, id="iptables")]


@pytest.mark.parametrize("gateway", BACKENDS)
def test_second_pass_changes_nothing(either: Host, record: Path, gateway: Ruleset) -> None:
    driver = RulesetDriver(either, record)
    wanted = (guards("tap1", "tap2"), gateway)
    assert set(converge(driver, *wanted).create) == set(wanted)
    assert not converge(driver, *wanted)
    assert not converge(RulesetDriver(either, record), *wanted)


def test_quiet_pass_runs_one_program_a_ruleset(host: Host, record: Path) -> None:
    driver = RulesetDriver(host, record)
    converge(driver, guards("tap1"), INET)
    host.calls = 0
    assert not converge(driver, guards("tap1"), INET)
    assert host.calls == 2


def test_lost_record_costs_one_more_apply(host: Host, record: Path) -> None:
    converge(RulesetDriver(host, record), guards("tap1"), INET)
    record.unlink()
    driver = RulesetDriver(host, record)
    assert len(converge(driver, guards("tap1"), INET).replace) == 2
    assert not converge(driver, guards("tap1"), INET)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["b"]}'])
def test_damaged_record_is_a_lost_one(host: Host, record: Path, text: str) -> None:
    record.write_text(text)
    driver = RulesetDriver(host, record)
    assert converge(driver, guards("tap1")).create
    assert not converge(driver, guards("tap1"))


BY_HAND = [
    pytest.param(IPTABLES, ("iptables", "-F", "lessor-FORWARD"), id="chain-flushed"),
    pytest.param(IPTABLES, ("iptables", "-D", "FORWARD", "-j", "lessor-FORWARD"), id="jump"),
    pytest.param(IPTABLES, ("iptables", "-t", "nat", "-F"), id="table-flushed"),
    pytest.param(IPTABLES, ("iptables", "-t", "nat", "-D", "lessor-snat", "2"), id="iptables-rule"),
    pytest.param(IPTABLES, ("iptables", "-A", "lessor-INPUT", "-j", "DROP"), id="rule-added"),
    pytest.param(INET, ("nft", "flush chain inet lessor postrouting"), id="nft-chain-flushed"),
    pytest.param(INET, ("nft", "delete table inet lessor"), id="nft-table-deleted"),
    pytest.param(INET, ("nft", "flush ruleset"), id="nft-all-flushed"),
    pytest.param(
        guards("tap1"), ("nft", 'delete element bridge lessor taps { "tap1" }'), id="nft-element"
    ),
    pytest.param(guards("tap1"), ("nft", "add rule bridge lessor input drop"), id="nft-rule-added"),
    pytest.param(guards("tap1"), ("nft", "add chain bridge lessor more"), id="nft-chain-added"),
    pytest.param(
        guards("tap1"),
        (
            "nft",
            "add set bridge lessor s { type ifname; }; add rule bridge lessor input iifname @s drop",
        ),
        id="nft-set-added",
    ),
]


@pytest.mark.parametrize(("ruleset", "command"), BY_HAND)
def test_what_was_changed_by_hand_is_mended(
    host: Host, record: Path, ruleset: Ruleset, command: tuple[str, ...]
) -> None:
    listing = ("iptables-save",) if ruleset is IPTABLES else ("nft", "-s", "list", "ruleset")
    driver = RulesetDriver(host, record)
    converge(driver, ruleset)
    before = _uncounted(host(*listing))
    host(*command)
    assert converge(driver, ruleset)
    assert _uncounted(host(*listing)) == before
    assert not converge(driver, ruleset)


def _uncounted(text: str) -> str:
    return re.sub(r"\[\d+:\d+\]|^#.*$|packets \d+ bytes \d+", "", text, flags=re.MULTILINE)


def count_drops(host: Host) -> None:
    """Count as if frames had been dropped: nft lets nobody set a counter that exists."""
    lines = ["add table bridge lessor"]
    lines += ["add counter bridge lessor from_mac { packets 9 bytes 900; }"]
    host("nft", "-f", "-", stdin="\n".join((*lines, "")))


def refused(host: Host) -> dict[Offence, int]:
    listing = host("nft", "-j", "list", "set", "bridge", "lessor", WRONG_MACS.name)
    return {offence: count.packets for offence, count in offences(listing)}


def test_drop_counters_outlive_every_change_of_the_rules(host: Host, record: Path) -> None:
    count_drops(host)
    driver = RulesetDriver(host, record)
    for number, wanted in enumerate((guards("tap1"), guards("tap1", "tap2"), guards("tap1"))):
        converge(driver, wanted)
        if number == 0:
            refuse(host)
        assert counted(host(*COUNTERS))["from_mac"] == 9
        assert refused(host) == {Offence("tap1", Reason.MAC, MAC): 4}
        assert not converge(driver, wanted)


def refuse(host: Host) -> None:
    """Put somebody into a set as a rule would."""
    element = f'add element bridge lessor {WRONG_MACS.name} {{ "tap1" . {MAC} counter packets 4 bytes 9 }}'
    host("nft", "-f", "-", stdin=f"{element}\n")


def test_what_rules_note_is_no_change_of_somebody_else(host: Host, record: Path) -> None:
    driver = RulesetDriver(host, record)
    converge(driver, guards("tap1"))
    refuse(host)
    driver.verify()
    assert not converge(driver, guards("tap1"))
    assert not converge(RulesetDriver(host, record), guards("tap1"))


def test_per_tap_counters_of_a_former_version_go(host: Host, record: Path) -> None:
    former = (
        "add table bridge lessor",
        "add counter bridge lessor rogue_dhcp_tap1",
        "add map bridge lessor rogues { type ifname : counter; }",
        'add element bridge lessor rogues { "tap1" : "rogue_dhcp_tap1" }',
        "add chain bridge lessor from_dhcp",
        "add rule bridge lessor from_dhcp counter name iifname map @rogues",
    )
    host("nft", "-f", "-", stdin="\n".join((*former, "")))
    driver = RulesetDriver(host, record)
    converge(driver, guards("tap1"))
    assert "rogue" not in host("nft", "list", "table", "bridge", "lessor")
    assert not converge(driver, guards("tap1"))


def test_table_that_was_declared_otherwise_is_made_anew(host: Host, record: Path) -> None:
    host("nft", "add table bridge lessor; add set bridge lessor taps { type ipv4_addr; }")
    chain = "add chain bridge lessor forward { type filter hook forward priority 7; }"
    host("nft", chain)
    driver = RulesetDriver(host, record)
    converge(driver, guards("tap1"))
    assert not converge(driver, guards("tap1"))


def test_foreign_iptables_rules_stay_byte_for_byte(either: Host, record: Path) -> None:
    either("iptables-restore", "--counters", stdin=FOREIGN_IPTABLES)
    before = either.saved()
    driver = RulesetDriver(either, record)
    for _ in range(2):
        converge(driver, IPTABLES)
        theirs = [line for line in either.saved().splitlines() if not _is_ours(line)]
        assert [line for line in before.splitlines() if line not in theirs] == []
        assert [line for line in theirs if "-A" in line] == [
            x for x in before.splitlines() if "-A" in x
        ]
        record.unlink()
        driver = RulesetDriver(either, record)
    converge(driver)
    after = {line for line in either.saved().splitlines() if "-A" in line or "lessor" in line}
    assert after == {line for line in before.splitlines() if "-A" in line}


def _is_ours(line: str) -> bool:
    return bool(re.search(r"^:lessor-|-A lessor-|-j lessor-", line))


def test_foreign_nft_tables_stay_byte_for_byte(host: Host, record: Path) -> None:
    host("nft", "-f", "-", stdin=FOREIGN_NFT)
    before = host("nft", "list", "ruleset")
    driver = RulesetDriver(host, record)
    converge(driver, guards("tap1"), INET)
    converge(driver, guards("tap2"), INET)
    assert host("nft", "list", "ruleset").startswith(before)
    converge(driver)
    assert host("nft", "list", "ruleset") == before


@pytest.mark.parametrize(("former", "latter"), [(INET, IPTABLES), (IPTABLES, INET)])
def test_other_backend_takes_the_place_of_the_former(
    either: Host, record: Path, former: Ruleset, latter: Ruleset
) -> None:
    converge(RulesetDriver(either, record), former, guards("tap1"))
    record.unlink()  # even so
    driver = RulesetDriver(either, record)
    converge(driver, latter, guards("tap1"))
    assert driver.observe().keys() == {latter.name, "nft bridge lessor"}
    if former is IPTABLES:
        assert "lessor" not in either.saved()
    else:
        assert "inet lessor" not in either("nft", "list", "tables")
    assert not converge(driver, latter, guards("tap1"))


def test_chains_are_reached_in_novas_order(either: Host, record: Path) -> None:
    either("iptables-restore", "--counters", stdin=FOREIGN_IPTABLES)
    converge(RulesetDriver(either, record), IPTABLES)
    saved = either.saved()
    assert _jumps(saved, "INPUT") == ["lessor-INPUT", "ACCEPT"]
    assert _jumps(saved, "FORWARD")[:3] == ["lessor-filter-top", "lessor-FORWARD", "DOCKER-USER"]
    assert _jumps(saved, "POSTROUTING", "nat") == [
        "lessor-POSTROUTING",
        "MASQUERADE",
        "MASQUERADE",
        "lessor-postrouting-bottom",
    ]
    assert _jumps(saved, "lessor-postrouting-bottom", "nat") == ["lessor-snat"]
    assert _jumps(saved, "lessor-snat", "nat") == ["lessor-float-snat", "SNAT"]
    assert _jumps(saved, "lessor-filter-top") == ["lessor-local"]


def _jumps(saved: str, chain: str, table: str = "filter") -> list[str]:
    lines = saved.split(f"*{table}\n")[1].split("COMMIT", maxsplit=1)[0].splitlines()
    rules = (line.split() for line in lines if f" -A {chain} " in line)
    return [words[words.index("-j") + 1] for words in rules]


def test_regexes_keep_foreign_rules_at_the_edges(either: Host, record: Path) -> None:
    either("iptables-restore", "--counters", stdin=FOREIGN_IPTABLES)
    converge(RulesetDriver(either, record), IPTABLES)
    top, bottom = "DOCKER-USER|172.17", "172.18"
    driver = RulesetDriver(either, record, top_regex=top, bottom_regex=bottom)
    assert converge(driver, IPTABLES).replace == (IPTABLES,)
    saved = either.saved()
    assert _jumps(saved, "FORWARD")[:3] == ["DOCKER-USER", "lessor-filter-top", "lessor-FORWARD"]
    assert _jumps(saved, "POSTROUTING", "nat") == [
        "MASQUERADE",
        "lessor-POSTROUTING",
        "lessor-postrouting-bottom",
        "MASQUERADE",
    ]
    assert not converge(driver, IPTABLES)


def test_counters_of_our_own_iptables_rules_survive_a_change(either: Host, record: Path) -> None:
    driver = RulesetDriver(either, record)
    converge(driver, IPTABLES)
    rule = "-A lessor-snat -s 10.0.0.0/24 -o eth0 -j SNAT --to-source 192.0.2.1"
    counted = f"*nat\n-F lessor-snat\n[4:400] {rule}\nCOMMIT\n"
    either("iptables-restore", "--noflush", "--counters", stdin=counted)
    converge(driver, IPTABLES)
    assert f"[4:400] {rule}" in either.saved()


def test_one_failure_does_not_stop_the_rest(host: Host, record: Path) -> None:
    driver = RulesetDriver(host, record)
    bad = Ruleset("nft bridge lessor", "add table bridge lessor\nnonsense\n")
    with pytest.raises(ExceptionGroup) as caught:
        converge(driver, bad, INET)
    assert caught.group_contains(CommandError, match="nonsense")
    assert driver.observe() == {INET.name: INET}


def _passes(host: Host, record: Path, *wanted: Ruleset) -> bool:
    """Make a pass as a new agent; tell whether all went well."""
    try:
        converge(RulesetDriver(host, record), *wanted)
    except (ExceptionGroup, CommandError):
        return False
    return True


@pytest.mark.parametrize("after", [False, True], ids=["not-done", "done-but-not-recorded"])
@pytest.mark.parametrize("gateway", BACKENDS)
def test_killed_at_any_step_the_next_pass_converges(
    host: Host, record: Path, gateway: Ruleset, after: bool
) -> None:
    wanted, former = (guards("tap1"), gateway), (guards("tap1", "tap0"), INET)
    for step in range(1, 30):
        host.fail_at = 0
        assert _passes(host, record, *former)
        host.calls, host.fail_at, host.fail_after = 0, step, after
        _passes(host, record, *wanted)
        reached = host.calls >= step
        host.fail_at = 0
        driver = RulesetDriver(host, record)
        converge(driver, *wanted)
        assert not converge(driver, *wanted)
        if not reached:
            return
    pytest.fail("there is no end of steps")


def test_interval_elements_may_change_in_place(host: Host, record: Path) -> None:
    """The same and other blocks, emptied and filled again in one transaction."""
    driver = RulesetDriver(host, record)
    for blocks in (("10.0.0.0/8",), ("10.0.0.0/9", "10.1.0.0/16"), ("10.0.0.0/8", "0.0.0.0/0")):
        sources = tuple((MAC, IPv4Network(block)) for block in blocks)
        converge(driver, guard_ruleset([PortSecurity("tap1", "br100", MAC, (MAC,), sources)], []))
    rows = json.loads(host("nft", "-j", "list", "set", "bridge", "lessor", "blocks"))["nftables"]
    (element,) = rows[1]["set"]["elem"]
    assert element["concat"][2] == {"prefix": {"addr": "0.0.0.0", "len": 0}}
