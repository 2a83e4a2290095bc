from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from lessor.agent.diagnosis.foreign import BRIDGED, foreign_drops
from lessor.errors import CommandError

EMPTY_FILTER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD {policy} [0:0]
:OUTPUT ACCEPT [0:0]
{rules}
COMMIT
"""
DOCKER = """:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
{more}-A DOCKER-USER -j RETURN"""
UFW = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A FORWARD -j ufw-user-forward
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -j DROP
{more}COMMIT
"""
FIREWALLD = """
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    ct status dnat accept
    iifname "lo" accept
    jump zones
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain zones { MORE oifname vmap { "eth0" : goto public, "eth1" : goto public }; }
  chain public { tcp dport 22 accept; }
}
"""


class Host:
    """Answers the programs that list rules, from what the test put there."""

    def __init__(
        self, *, save: str = "", legacy: str = "", nft: str = "", bridged: str = ""
    ) -> None:
        self.outputs = {
            "iptables-nft-save": save,
            "iptables-legacy-save": legacy,
            "nft": nft,
            "sysctl": bridged,
        }

    def __call__(
        self,
        *argv: str,
        stdin: str | None = None,  # noqa: ARG002 - as Run has it
        timeout_s: float = 30,  # noqa: ARG002 - as Run has it
    ) -> str:
        if not self.outputs[argv[0]]:
            raise CommandError(f"there is no program {argv[0]}")
        return self.outputs[argv[0]]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        pytest.param("", True, id="as-docker-leaves-it"),
        pytest.param("-A DOCKER-USER -i br100 -j ACCEPT\n", False, id="accepted-in-docker-user"),
        pytest.param("-A FORWARD -i br+ -j ACCEPT\n", False, id="accepted-by-wildcard"),
        pytest.param("-A FORWARD -i br101 -j ACCEPT\n", True, id="another-bridge-accepted"),
        pytest.param("-A FORWARD -s 10.0.0.0/24 -j ACCEPT\n", False, id="accepted-by-range"),
        pytest.param("-A FORWARD -i br100 -p udp -j ACCEPT\n", True, id="only-udp-accepted"),
        pytest.param(
            "-A FORWARD -p tcp -m multiport --dports 80,443 -j ACCEPT\n", False, id="port"
        ),
        pytest.param("-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT\n", True, id="another-port"),
    ],
)
def test_dockers_forward_policy_is_named_unless_the_bridge_is_accepted(
    more: str, named: bool
) -> None:
    save = EMPTY_FILTER.format(policy="DROP", rules=DOCKER.format(more=more))
    sentences = foreign_drops(Host(save=save), ["br100"])
    assert [s.split(" drops ")[0] for s in sentences] == (["iptables FORWARD"] if named else [])
    assert all("'iptables -I DOCKER-USER -i br100 -j ACCEPT'" in s for s in sentences)


def test_our_own_accept_before_the_policy_is_enough() -> None:
    ours = ":lessor-FORWARD - [0:0]\n-A FORWARD -j lessor-FORWARD\n"
    save = EMPTY_FILTER.format(
        policy="DROP", rules=ours + "-A lessor-FORWARD -i br100 -j ACCEPT\n-A FORWARD -j DROP"
    )
    assert foreign_drops(Host(save=save), ["br100"]) == []
    assert len(foreign_drops(Host(save=save), ["br101"])) == 1


def test_ufw_is_told_by_its_chains() -> None:
    forward, dhcp = sorted(foreign_drops(Host(save=UFW.format(more="")), ["br100"]))
    assert "ufw route allow in on br100 " in forward
    assert "drops DHCP requests" in dhcp
    assert "ufw allow in on br100 to any port 67 proto udp" in dhcp


def test_an_accept_that_ufw_may_return_to_counts() -> None:
    more = "-A ufw-user-input -i br100 -p udp -m udp --dport 67 -j ACCEPT\n"
    more += "-A ufw-user-forward -i br100 -j ACCEPT\n"
    assert foreign_drops(Host(save=UFW.format(more=more)), ["br100"]) == []


def test_legacy_tables_are_read_beside_those_of_nft() -> None:
    accept = EMPTY_FILTER.format(policy="ACCEPT", rules="")
    drop = EMPTY_FILTER.format(policy="DROP", rules="")
    (sentence,) = foreign_drops(Host(save=accept, legacy=drop), ["br100"])
    assert sentence.startswith("iptables-legacy FORWARD drops")
    assert "'iptables-legacy -I FORWARD -i br100 -j ACCEPT'" in sentence


@pytest.mark.parametrize(
    ("bridged", "bridges", "named"),
    [
        pytest.param("1", [], ["frames between VMs on br100"], id="bridged-frames-are-filtered"),
        pytest.param("0", [], [], id="bridged-frames-go-by"),
        pytest.param("", [], [], id="no-bridge-netfilter"),
        pytest.param("1", ["br100"], ["what VMs on br100", "frames between VMs"], id="both"),
    ],
)
def test_a_compute_host_is_told_of_filters_between_its_vms(
    bridged: str, bridges: list[str], named: list[str]
) -> None:
    save = EMPTY_FILTER.format(policy="DROP", rules=DOCKER.format(more=""))
    sentences = foreign_drops(Host(save=save, bridged=bridged), bridges, only_bridged=["br100"])
    assert len(sentences) == len(named)
    assert all(part in s for part, s in zip(named, sentences, strict=True))
    assert all(f"sysctl -w {BRIDGED}=0" in s for s in sentences[len(bridges) :])


@pytest.fixture
def namespace() -> Iterator[str]:
    name = "lsrfw-foreign"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def listed(namespace: str, rules: str) -> str:
    nft = ["ip", "netns", "exec", namespace, "nft"]
    rules = rules.replace("; }", ";\n}")  # nft 1.0.6 wants the line to end there
    subprocess.run([*nft, "-f", "-"], input=f"flush ruleset\n{rules}", text=True, check=True)
    done = subprocess.run([*nft, "-j", "list", "ruleset"], capture_output=True, check=True)
    return done.stdout.decode()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("rules", "named"),
    [
        pytest.param(FIREWALLD.replace("MORE", ""), 1, id="firewalld"),
        pytest.param(FIREWALLD.replace("MORE", 'iifname "br100" accept;'), 0, id="zone-accepts"),
        pytest.param(
            FIREWALLD.replace("MORE", 'iifname vmap { "br100" : accept };'), 0, id="vmap-accepts"
        ),
        pytest.param(
            "table inet f { chain forward { type filter hook forward priority 0; policy drop; "
            "tcp dport 22 accept; }\n}",
            1,
            id="policy",
        ),
        pytest.param(
            "table inet f { chain forward { type filter hook forward priority 0; policy drop; "
            "tcp dport 400-500 accept; }\n}",
            0,
            id="a-port-range",
        ),
        pytest.param(
            "table inet f { chain input { type filter hook input priority 0; policy drop; "
            'iifname { "lo", "eth0" } accept; } \n}',
            1,
            id="dhcp",
        ),
        pytest.param(
            "table inet f { chain input { type filter hook input priority 0; policy drop; "
            "udp dport { 53, 67 } accept; }\n}",
            0,
            id="dhcp-accepted",
        ),
        pytest.param(
            "table bridge f { chain forward { type filter hook forward priority 0; policy drop; }\n}",
            1,
            id="bridge",
        ),
        pytest.param(
            "table inet lessor { chain forward { type filter hook forward priority 0; "
            "policy drop; }\n}",
            0,
            id="our-own",
        ),
        pytest.param(
            "table inet f { chain forward { type filter hook forward priority 0; "
            'iifname != "eth0" drop; } \n}',
            1,
            id="drop-of-all-but-eth0",
        ),
        pytest.param(
            "table inet f { chain forward { type filter hook forward priority 0; "
            "meta mark 7 drop; }\n}",
            0,
            id="drop-that-nobody-can-foretell",
        ),
    ],
)
def test_tables_of_nft_are_judged(namespace: str, rules: str, named: int) -> None:
    sentences = foreign_drops(Host(nft=listed(namespace, rules)), ["br100"])
    assert len(sentences) == named


@pytest.mark.lab
def test_what_it_says_would_help_helps(namespace: str) -> None:
    rules = "table inet f { chain forward { type filter hook forward priority 0; policy drop; }\n}"
    (sentence,) = foreign_drops(Host(nft=listed(namespace, rules)), ["br100"])
    command = sentence.split("'")[1]
    more = command.removeprefix("nft ")
    assert foreign_drops(Host(nft=listed(namespace, f"{rules}\n{more}")), ["br100"]) == []


@pytest.mark.lab
@pytest.mark.skipif(not shutil.which("iptables-nft"), reason="iptables-nft is not here")
def test_a_chain_of_iptables_nft_is_named_once(namespace: str) -> None:
    def run(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        inside = ["ip", "netns", "exec", namespace, *argv]
        return subprocess.run(inside, capture_output=True, text=True, check=True).stdout

    run("iptables-nft", "-P", "FORWARD", "DROP")
    assert "ip" in json.dumps(run("nft", "-j", "list", "ruleset"))
    run("sysctl", "-qw", f"{BRIDGED}=0")
    (sentence,) = foreign_drops(run, ["br100"])
    assert sentence.startswith("iptables FORWARD drops")
