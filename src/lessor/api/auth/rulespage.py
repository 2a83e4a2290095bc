"""Writes docs/reference/rules.md from the table of rules: `python -m lessor.api.auth.rulespage`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lessor.api.auth import rules
from lessor.api.auth.rules import Rule

HEAD = """# Rules

Who may do what, with `auth_strategy` `http_basic` or `keystone`. Made from `src/lessor/api/auth/rules.py`
by `scripts/pages`.

A file of your own changes rules: `[oslo_policy] policy_file`, lines `"NAME": "RULE"` in oslo.policy's
language, the names those of Neutron. It is read when the server starts. Rules about what Lessor does
not have are left alone, so a policy file of Neutron's can be taken as it is.

```yaml
"create_network:shared": "rule:project_member"
"get_network:provider:network_type": "rule:reader"
"delete_network": "rule:admin_only"
```

Four things come before the rules, and no file changes them:

- A project sees what is its own, what is on its networks, and what is shared with it; `admin` and
  `service` see all projects. What somebody may not see is answered as what is not there, with 404.
- Something is of its maker's project. Only `admin` and `service` may name another.
- An RBAC policy shares a network with a project, or with all of them (`*`).
- Who acts for one project gives a port no pair and takes off no guard that lets it be somebody else:
  [allowed address pairs](api.md#allowed-address-pairs).

An attribute with a rule `get_...` is left out of answers to those whom the rule does not let in, and
they can't filter or sort by it. A value that says nothing (`"shared": false`, of what is not shared) is
asked no rule. What has no rule is for administrators.
"""


def page() -> str:
    """Return the page."""
    parts = [
        ("What rules are made of", rules.BASE),
        ("Networks", rules.NETWORKS),
        ("Subnets", rules.SUBNETS),
        ("Ports", rules.PORTS),
        ("Subnet pools and address scopes", rules.POOLS),
        ("Sharing", rules.SHARING),
        ("Quotas, room, auto-allocation", rules.LIMITS),
        ("Bindings of ports", rules.BINDINGS),
        ("Instances, leases, addresses", rules.OWN),
        ("The fleet", rules.FLEET),
    ]
    return HEAD + "".join(_part(title, table) for title, table in parts)


def _part(title: str, table: Sequence[Rule]) -> str:
    return f"\n## {title}\n\n| rule | who |\n|---|---|\n" + "".join(_lines(table))


def _lines(table: Iterable[Rule]) -> Iterable[str]:
    for rule in table:
        doc = f" ({rule.doc})" if rule.doc else ""
        yield f"| `{rule.name}` | `{rule.check}`{doc} |\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - the page
