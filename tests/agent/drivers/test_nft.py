"""nft in process, and rules that count as unchanged until a notification of a change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random

import pytest

from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.agent.host.nft import Nft, next_generation
from lessor.agent.host.run import run
from lessor.core.diff import Changes
from lessor.core.firewall import tap_guard as guards_core
from lessor.core.firewall.tap_guard import guard_ruleset
from lessor.core.state import Ruleset
from lessor.core.vmport import PortSecurity
from lessor.errors import CommandError
from tests.agent.drivers.test_rulesets import GATEWAY, INET, converge, guards

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
LIST = ("nft", "-j", "list", "table", "bridge", "lessor")
ONE, TWO = guards("tap1"), guards("tap1", "tap2")
OURS = TWO.text.count("add rule bridge lessor input ")


class Watched:
    """An `Nft` that counts listings; `before` is called before the next change of tables."""

    def __init__(self, nft: Nft) -> None:
        self.nft = nft
        self.listed = 0
        self.before: Callable[[], object] | None = None
        self.fails = False

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        self.listed += "list" in argv
        if "-f" in argv and self.before:
            step, self.before = self.before, None
            step()
        answer = self.nft(*argv, stdin=stdin, timeout_s=timeout_s)
        if "-f" in argv and self.fails:
            raise KeyboardInterrupt  # killed: no code of ours catches it
        return answer


@pytest.fixture
def nft(netns: int) -> Iterator[Watched]:
    made = Nft()
    yield Watched(made)
    made.close()


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "rulesets.json"


def lines() -> list[str]:
    """The table's lines; counters come in the order in which they were made."""
    return sorted(run("nft", "-s", "list table bridge lessor").splitlines())


def driver_of(nft: Watched, record: Path) -> RulesetDriver:
    names = (guards_core.NAME, INET.name)
    return RulesetDriver(nft, record, names, generation=nft.nft.generation)


def settled(nft: Watched, record: Path, *wanted: Ruleset) -> RulesetDriver:
    """A driver that has brought these into force and looked at them."""
    driver = driver_of(nft, record)
    converge(driver, *wanted)
    driver.verify()
    assert not converge(driver, *wanted)
    nft.listed = 0
    return driver


def test_a_listing_is_what_the_program_prints(nft: Watched) -> None:
    nft("nft", "-f", "-", stdin=TWO.text)
    assert nft(*LIST) == run(*LIST)


@pytest.mark.parametrize(
    ("argv", "stdin", "words"),
    [
        (("nft", "-j", "list", "table", "ip", "nobody"), None, "No such file or directory"),
        (("nft", "-f", "-"), "add nonsense\n", "syntax error"),
        (("nft", "list", "table", "ip", "nobody"), None, "No such file or directory"),
    ],
)
def test_what_nft_refuses_is_said_in_its_words(
    nft: Watched, argv: tuple[str, ...], stdin: str | None, words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        nft(*argv, stdin=stdin)
    assert nft("nft", "-j", "list", "ruleset") == run("nft", "-j", "list", "ruleset")


def test_the_generation_tells_every_change_and_nothing_else(nft: Watched, sh: Shell) -> None:
    first = nft.nft.generation()
    nft("nft", "-f", "-", stdin=ONE.text)
    second = nft.nft.generation()
    assert second == next_generation(first)
    nft(*LIST)
    assert nft.nft.generation() == second
    sh("nft add table ip operator")
    assert nft.nft.generation() == next_generation(second)


def test_tables_of_another_namespace_have_another_generation(netns: int, sh: Shell) -> None:
    here = Nft()
    told = sh(
        "unshare -n python3 -c \"import os; print(os.stat('/proc/thread-self/ns/net').st_ino)\""
    ).strip()
    assert told not in here.generation()
    here.close()


def test_what_nobody_touched_is_not_listed_again(nft: Watched, record: Path) -> None:
    driver = settled(nft, record, ONE, INET)
    assert not converge(driver, ONE, INET)
    assert nft.listed == 0


def test_a_change_lists_nothing_and_comes_to_the_same_as_one_that_does(
    nft: Watched, record: Path, tmp_path: Path
) -> None:
    driver = settled(nft, record, ONE, INET)
    for wanted in (TWO, guards("tap2"), TWO, guards("tap3")):
        assert converge(driver, wanted, INET).replace == (wanted,)
    assert nft.listed == 0
    quick = lines()
    run("nft", "delete table bridge lessor")
    converge(RulesetDriver(run, tmp_path / "other", (guards_core.NAME,)), guards("tap3"))
    assert lines() == quick


def some_guards(random: Random) -> Ruleset:
    """Return rules for some of five taps, each with some of what a guard may have."""
    made = []
    for number in random.sample(range(5), random.randrange(6)):
        mac = f"fa:16:3e:00:00:{number:02x}"
        macs = (mac,) if random.random() < 0.8 else ()
        blocks = random.sample(("10.0.0.5", "10.9.0.0/16", "10.8.0.0/15", "0.0.0.0/0"), 2)
        servers = random.sample([IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")], 1)
        sources = tuple((mac, IPv4Network(block)) for block in blocks)
        local, group = random.random() < 0.5, random.choice(("", "a"))
        made.append(
            PortSecurity(f"tap{number}", "br100", mac, macs, sources, tuple(servers), local, group)
        )
    return guard_ruleset(made, [GATEWAY] if random.random() < 0.8 else [])


@pytest.mark.parametrize("seed", range(6))
def test_many_changes_come_to_the_same_as_the_last_alone(
    nft: Watched, record: Path, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - what is to be the same in each run
    driver = settled(nft, record, some_guards(random), INET)
    for _ in range(12):
        wanted = some_guards(random)
        converge(driver, wanted, INET)
    assert nft.listed == 0
    quick = lines()
    run("nft", "delete table bridge lessor")
    converge(RulesetDriver(run, tmp_path / "other", (guards_core.NAME,)), wanted)
    assert lines() == quick


@pytest.mark.parametrize(
    "change",
    [
        'delete element bridge lessor taps { "tap1" }',
        "flush ruleset",
        "add chain bridge lessor more",
        "delete table bridge lessor",
    ],
)
@pytest.mark.parametrize("digested", [True, False])
def test_what_somebody_changed_is_mended_and_the_next_pass_is_empty(
    nft: Watched, record: Path, sh: Shell, change: str, *, digested: bool
) -> None:
    driver = settled(nft, record, TWO if digested else ONE, INET)
    converge(driver, TWO, INET)
    sh(f"nft '{change}'")
    assert converge(driver, TWO, INET)
    assert not converge(driver, TWO, INET)
    assert not converge(driver_of(nft, record), TWO, INET)
    elements = json.loads(run("nft", "-j", "list", "set", "bridge", "lessor", "taps"))["nftables"]
    assert elements[1]["set"]["elem"] == ["tap1", "tap2"]


def test_a_change_of_an_operators_table_costs_one_look(
    nft: Watched, record: Path, sh: Shell
) -> None:
    driver = settled(nft, record, TWO, INET)
    sh("nft add table ip operator")
    assert not converge(driver, TWO, INET)
    assert nft.listed == 2
    assert not converge(driver, TWO, INET)
    assert nft.listed == 2
    assert "operator" in sh("nft list tables")


def test_a_change_of_an_operators_table_after_ours_costs_one_more_of_ours(
    nft: Watched, record: Path, sh: Shell
) -> None:
    driver = settled(nft, record, ONE, INET)
    converge(driver, TWO, INET)
    sh("nft add table ip operator")
    assert converge(driver, TWO, INET) == Changes(replace=(TWO,))
    assert not converge(driver, TWO, INET)
    assert not converge(driver_of(nft, record), TWO, INET)


def test_a_change_in_the_same_moment_is_noticed(nft: Watched, record: Path, sh: Shell) -> None:
    driver = settled(nft, record, ONE, INET)
    nft.before = lambda: sh("nft 'add rule bridge lessor input drop'")
    converge(driver, TWO, INET)
    assert nft.listed > 0
    assert not converge(driver, TWO, INET)
    assert run("nft", "list chain bridge lessor input").count(" drop\n") == OURS


def test_the_next_agent_believes_the_record_as_long_as_nobody_changed_anything(
    nft: Watched, record: Path
) -> None:
    converge(settled(nft, record, ONE, INET), TWO, INET)
    assert not converge(driver_of(nft, record), TWO, INET)


def test_killed_after_a_change_it_is_made_once_more(nft: Watched, record: Path) -> None:
    driver = settled(nft, record, ONE, INET)
    nft.fails = True
    with pytest.raises(KeyboardInterrupt):
        converge(driver, TWO, INET)
    nft.fails = False
    assert converge(driver_of(nft, record), TWO, INET)
    assert not converge(driver_of(nft, record), TWO, INET)


def test_a_record_of_another_version_is_no_record(nft: Watched, record: Path) -> None:
    record.write_text(json.dumps({ONE.name: ["text", "digest", "at", "more"], INET.name: 7}))
    assert converge(driver_of(nft, record), ONE, INET)
    assert not converge(driver_of(nft, record), ONE, INET)
