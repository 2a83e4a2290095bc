"""Writes docs/reference/rules.md from the table of rules: `python -m lessor.api.auth.rulespage`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lessor.api.auth import rules
from lessor.api.auth.rules import Rule

HEAD = """# Rules

The authorization rules with `auth_strategy` `http_basic` or `keystone`. Generated from
`src/lessor/api/auth/rules.py` by `scripts/pages`.

To change rules, write a file of lines `"NAME": "RULE"` in oslo.policy's language, with Neutron's
names, and set `[oslo_policy] policy_file`. It is read when the server starts. Rules of resources that
Lessor does not have are ignored, so an unchanged policy file of Neutron is accepted.

```yaml
"create_network:shared": "rule:project_member"
"get_network:provider:network_type": "rule:reader"
"delete_network": "rule:admin_only"
```

Four principles precede the rules, and no file changes them:

- A project sees its own objects, those on its networks, and those shared with it; `admin` and
  `service` see all projects. An object that the caller may not see is answered with 404.
- A new object belongs to its creator's project. Only `admin` and `service` may set another.
- An RBAC policy shares a network with a project, or with all of them (`*`).
- A caller that acts for one project can't set a pair or remove a guard if a port could then use
  addresses of others: [allowed address pairs](api.md#allowed-address-pairs).

An attribute with a rule `get_...` is hidden from callers that the rule excludes, and they can't filter
or sort by it. A neutral value (`"shared": false` of an object that is not shared) needs no rule.
Actions without a rule are for administrators.
"""


def page() -> str:
    """Return the page."""
    parts = [
        ("Base rules", rules.BASE),
        ("Networks", rules.NETWORKS),
        ("Subnets", rules.SUBNETS),
        ("Ports", rules.PORTS),
        ("Subnet pools and address scopes", rules.POOLS),
        ("Sharing", rules.SHARING),
        ("Quotas, availability, auto-allocation", rules.LIMITS),
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
