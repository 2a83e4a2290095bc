"""Compiled rules are equivalent to oslo.policy; malformed rules are refused at the start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_policy import policy

from lessor.api.auth.caller import Caller
from lessor.api.auth.checks import compiled
from lessor.api.auth.rules import BASE, TABLE, Rules
from lessor.api.auth.rulespage import page
from lessor.errors import ConfigError

NO_FIELD = {r.name: r.check for r in TABLE if "field:" not in r.check}
PARSED = policy.Rules.from_dict(
    {name: text.replace("rule:network_device", "!") for name, text in NO_FIELD.items()}
)
COMPILED = compiled({}, {n: t.replace("rule:network_device", "!") for n, t in NO_FIELD.items()
                         if "restrict_wildcard" not in t})  # fmt: skip
roles = st.frozensets(st.sampled_from(["admin", "member", "reader", "service", "Other"]))
projects = st.sampled_from(["p1", "p2", "p3"])


@settings(max_examples=200, deadline=None)
@given(roles, projects, projects, projects)
def test_a_compiled_rule_says_what_oslo_policy_says(
    has: frozenset[str], own: str, of_thing: str, of_network: str
) -> None:
    target: Any = {"project_id": of_thing, "network:project_id": of_network}
    caller = Caller("u", own, frozenset(role.lower() for role in has))
    creds = {"roles": list(has), "project_id": own, "user_id": "u"}
    enforcer: Any = SimpleNamespace(rules=PARSED)
    for name, rule in COMPILED.items():
        expected = bool(PARSED[name](target, dict(creds), enforcer))
        assert rule.check(caller, target) == expected, name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"get_port": "rule:nothing"}, "names 'nothing', which is not there", id="gone"
        ),
        pytest.param({"admin_only": "rule:admin_only"}, "names itself: admin_only", id="circle"),
        pytest.param({"get_port": "(role:admin"}, "can't be understood", id="syntax"),
        pytest.param({"get_port": "x.y:%(id)s"}, "a caller has project_id", id="unknown-word"),
    ],
)
def test_a_rule_that_can_not_be_meant_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Rules(changes)


def test_rules_of_what_is_not_here_are_left_alone() -> None:
    assert Rules({"create_router": "rule:admin_or_ext_parent_owner"}).of("create_router")


def test_an_operator_names_who_is_an_administrator() -> None:
    rules = Rules({"context_is_admin": "role:cloud_admin", "service_api": "role:robots"})
    assert rules.known("u", "p", ["Cloud_Admin"]).is_admin
    assert not rules.known("u", "p", ["admin"]).is_admin
    assert rules.known("u", "p", ["robots"]).scope is None


def test_a_project_without_a_name_is_nobodys() -> None:
    rules = Rules()
    caller = rules.known("u", "", ["member"])
    assert not rules.of("create_network").check(caller, {"project_id": ""})


@pytest.mark.parametrize(
    ("text", "target", "meets"),
    [
        ("field:networks:shared=True", {"shared": True}, True),
        ("field:networks:shared=True", {"shared": False}, False),
        ("field:networks:shared=True", {}, False),
        ("field:port:device_owner=~^network:", {"device_owner": "network:dhcp"}, True),
        ("field:port:device_owner=~^network:", {"device_owner": "compute:nova"}, False),
        ("True:%(shared)s", {"shared": True}, True),
        ("'p9':%(project_id)s", {"project_id": "p9"}, True),
        ("user_id:u7", {}, True),
    ],
)
def test_a_check_of_a_field(text: str, target: dict[str, Any], meets: bool) -> None:
    rule = compiled({}, {"r": text})["r"]
    assert rule.check(Caller("u7", "p1"), target) is meets


def test_every_base_rule_tells_what_it_is_for_or_is_made_of_others() -> None:
    assert all(rule.doc or "rule:" in rule.check for rule in BASE)


def test_the_page_of_rules_is_current_and_has_them_all() -> None:
    made = Path(__file__).parents[3] / "docs/reference/rules.md"
    assert made.read_text() == page(), "scripts/pages"
    assert all(f"`{rule.name}`" in page() for rule in TABLE)
