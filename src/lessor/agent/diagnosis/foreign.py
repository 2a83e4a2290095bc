"""Finds rules of others on this host that would drop what VMs send: Docker's, ufw's, firewalld's.

Nothing is changed: a problem names the chain, and what would help.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import chain

from lessor.agent.host.run import Run
from lessor.core.diagnosis.foreign import BaseChain, Packet, fate
from lessor.core.diagnosis.foreign_iptables import iptables_base_chains, iptables_steps
from lessor.core.diagnosis.foreign_nft import nft_base_chains, nft_steps
from lessor.errors import CommandError

BRIDGED = "net.bridge.bridge-nf-call-iptables"
_NO_RULES = json.dumps({"nftables": []})


def foreign_drops(
    run: Run, bridges: Collection[str], *, only_bridged: Collection[str] = ()
) -> list[str]:
    """Return a sentence for each chain of others that surely drops what VMs send.

    Args:
        run: runs nft, iptables-nft-save, iptables-legacy-save and sysctl, as far as they are here.
        bridges: those that this host is gateway of, or DHCP server on.
        only_bridged: further VM bridges, between whose ports frames must pass.
    """
    chains = _base_chains(run)
    between = _output(run, "sysctl", "-n", BRIDGED).strip() == "1"
    found: dict[str, None] = {}
    for base in chains:
        for bridge in sorted({*bridges, *only_bridged}):
            for sentence in _sentences(base, bridge, routed=bridge in bridges, between=between):
                found.setdefault(sentence)
    return list(found)


def _base_chains(run: Run) -> list[BaseChain]:
    saves = {
        "iptables": _output(run, "iptables-nft-save", "-t", "filter"),
        "iptables-legacy": _output(run, "iptables-legacy-save", "-t", "filter"),
    }
    tables = [iptables_base_chains(saved, program) for program, saved in saves.items()]
    chains = nft_base_chains(_output(run, "nft", "-j", "list", "ruleset") or _NO_RULES)
    if tables[0]:  # nft shows iptables-nft's table too, less readable
        chains = [one for one in chains if not one.label.startswith("nft ip filter ")]
    return [*chain.from_iterable(tables), *chains]


def _sentences(base: BaseChain, bridge: str, *, routed: bool, between: bool) -> Iterator[str]:
    if base.family == "bridge":
        if base.hook == "forward" and _drops(base, Packet("forward")):
            yield f"{base.label} drops frames between VMs of one bridge; {_help(base, '')}"
        return
    if base.hook == "input":
        request = Packet("input", iif=bridge, protocol="udp", sport=68, dport=67)
        if routed and _drops(base, request):
            allow = _help(base, bridge, "udp")
            yield f"{base.label} drops DHCP requests of VMs on {bridge} to this host; {allow}"
        return
    if routed and _drops(base, Packet("forward", iif=bridge)):
        yield (
            f"{base.label} drops what VMs on {bridge} send through this host to the outside; "
            f"{_help(base, bridge)}"
        )
    if between and _drops(base, Packet("forward", iif=bridge, oif=bridge)):
        yield (
            f"{base.label} drops frames between VMs on {bridge}, since {BRIDGED} is 1; "
            f"sysctl -w {BRIDGED}=0, or {_help(base, bridge)}"
        )


def _drops(base: BaseChain, packet: Packet) -> bool:
    read = nft_steps if base.label.startswith("nft ") else iptables_steps
    return fate(base, read(base, packet)) == "drop"


def _help(base: BaseChain, bridge: str, protocol: str = "") -> str:
    """Return what an operator would do about it with the tool that made the chain."""
    dhcp = protocol == "udp"
    if _names(base, "ufw-"):
        allow = f"ufw {'' if dhcp else 'route '}allow in on {bridge}"
        return f"{allow}{' to any port 67 proto udp' if dhcp else ''} would let them pass"
    if base.label.startswith("nft inet firewalld"):
        return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} would let it pass"
    if base.label.startswith("nft "):
        match = f' iifname "{bridge}"' if bridge else ""
        match += " udp dport 67" if dhcp else ""
        return (
            f"'nft insert rule {base.label.removeprefix('nft ')}{match} accept' would let it pass"
        )
    docker = base.hook == "forward" and _names(base, "DOCKER-USER")
    program, name = base.label.split()
    place = "DOCKER-USER" if docker else name
    both = "" if dhcp else f" and '{program} -I {place} -o {bridge} -j ACCEPT'"
    udp = "-p udp --dport 67 " if dhcp else ""
    return f"'{program} -I {place} -i {bridge} {udp}-j ACCEPT'{both} would let it pass"


def _names(base: BaseChain, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in base.chains)


def _output(run: Run, *argv: str) -> str:
    try:
        return run(*argv)
    except CommandError:  # not installed, not supported by the kernel: then it drops nothing
        return ""
