"""Reads the filter table from `iptables-save`.

Source: iptables-save(8), iptables-extensions(8).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from lessor.core.diagnosis.foreign import BaseChain, Packet, Step, all_of, interface_is

_HOOKS = {"INPUT": "input", "FORWARD": "forward"}
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
_GO_ON = frozenset(("LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TRACE", "SET", "AUDIT"))
_SAY_NOTHING = frozenset(("-m", "--match", "--comment", "--reject-with"))


def iptables_base_chains(saved: str, program: str = "iptables") -> list[BaseChain]:
    """Return INPUT and FORWARD of the filter table, if there is one."""
    policies: dict[str, str] = {}
    chains: dict[str, list[object]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter" and line.startswith(":"):
            name, policy = line[1:].split()[:2]
            policies[name], chains[name] = policy.lower(), []
        elif table == "filter" and line.startswith("-A "):
            chains[line.split()[1]].append(line)
    return [
        BaseChain(f"{program} {name}", hook, policies[name], name, chains)
        for name, hook in _HOOKS.items()
        if name in policies
    ]


def iptables_steps(base: BaseChain, packet: Packet) -> dict[str, list[Step]]:
    """Return what each rule of the table does with a packet."""
    return {name: [_step(str(rule), packet) for rule in its] for name, its in base.chains.items()}


def _step(rule: str, packet: Packet) -> Step:
    conditions: list[bool | None] = []
    verdict, target = "", ""
    for negated, option, value in _options(shlex.split(rule)[2:]):
        if option in {"-j", "-g"}:
            verdict, target = _target(option, value)
        elif option not in _SAY_NOTHING:
            holds = _holds(option, value, packet)
            conditions.append(not holds if negated and holds is not None else holds)
    return Step(all_of(conditions), verdict, target)


def _options(words: list[str]) -> Iterator[tuple[bool, str, str]]:
    """Yield (negated, option, value); a further value of an option is left out."""
    negated = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "!":
            negated = True
        elif word.startswith("-"):
            yield negated, word, "" if following.startswith("-") else following
            negated = False


def _target(option: str, name: str) -> tuple[str, str]:
    if name in _VERDICTS:
        return _VERDICTS[name], ""
    if name in _GO_ON:
        return "", ""
    if name.isupper() and name.startswith(("NFQUEUE", "QUEUE")):
        return "accept", ""
    return ("goto" if option == "-g" else "jump"), name


def _holds(option: str, value: str, packet: Packet) -> bool | None:  # noqa: PLR0911 - one an option
    match option:
        case "-i":
            return interface_is(packet.iif, value.replace("+", "*"))
        case "-o":
            return interface_is(packet.oif, value.replace("+", "*"))
        case "-p":
            return value == packet.protocol
        case "--sport" | "--dport" | "--sports" | "--dports":
            port = packet.port(option.removeprefix("--").removesuffix("s"))
            return any(_in_span(port, span) for span in value.split(","))
        case "--ctstate" | "--state":
            return "NEW" in value.split(",")  # nobody has rewritten it: not DNAT
        case "--physdev-is-bridged":
            return packet.iif is not None and packet.iif == packet.oif
    return None


def _in_span(port: int, span: str) -> bool:
    first, _, last = span.partition(":")
    return int(first) <= port <= int(last or first)
