"""Rules, read by oslo.policy and compiled into functions.

oslo.policy's own `enforce` copies and logs what it is given each time, about 0.1 ms a rule; a
request looks at up to twenty. Its parser decides what a rule means; what it parsed is walked once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oslo_policy import _checks, policy  # the classes that its public parser makes

from lessor.api.auth.caller import Caller
from lessor.errors import ConfigError

Target = Mapping[str, Any]
Check = Callable[[Caller, Target], bool]
_ATTRIBUTE = re.compile(r"%\((.+?)\)s")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule: what it asks, and whether the answer depends on the thing it is about."""

    check: Check
    of_target: bool


def compiled(further: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Compiled]:
    """Compile rules.

    Args:
        further: rules by name that others may name.
        texts: those to compile; they go before `further` ones of the same name.

    Raises:
        ConfigError: a rule can't be understood, names one that is not there, or itself.
    """
    compiler = _Compiler({**further, **texts})
    return {name: compiler.rule(name) for name in texts}


class _Compiler:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._done: dict[str, Compiled] = {}
        self._open: list[str] = []

    def rule(self, name: str) -> Compiled:
        if name not in self._done:
            self._open.append(name)
            self._done[name] = self._of(self._parsed(name))
            self._open.pop()
        return self._done[name]

    def _parsed(self, name: str) -> Any:
        if self._open.count(name) > 1:
            raise ConfigError(f"a rule names itself: {' -> '.join(self._open)}")
        if name not in self._texts:
            raise ConfigError(f"rule {self._open[0]} names {name!r}, which is not there")
        text = self._texts[name]
        parsed = policy.Rules.from_dict({name: text})[name]
        if isinstance(parsed, _checks.FalseCheck) and text.strip() != "!":
            raise ConfigError(f"rule {name}: {text!r} can't be understood")
        return parsed

    def _of(self, check: Any) -> Compiled:  # noqa: PLR0911 - one a kind of check
        match check:
            case _checks.TrueCheck():
                return Compiled(lambda _c, _t: True, of_target=False)
            case _checks.FalseCheck():
                return Compiled(lambda _c, _t: False, of_target=False)
            case _checks.NotCheck():
                inner = self._of(check.rule)
                return Compiled(lambda c, t: not inner.check(c, t), inner.of_target)
            case _checks.AndCheck():
                return _all([self._of(part) for part in check.rules])
            case _checks.OrCheck():
                return _any([self._of(part) for part in check.rules])
            case _checks.RuleCheck():
                return self.rule(check.match)
            case _checks.RoleCheck():
                role = check.match.lower()
                return Compiled(lambda c, _: role in c.roles, of_target=False)
            case _checks.GenericCheck(kind="field"):
                return _field(check.match)
            case _checks.GenericCheck():
                return _generic(check.kind, check.match)
        raise ConfigError(f"rule {self._open[0]}: checks of the kind {check} are not supported")


def _all(parts: list[Compiled]) -> Compiled:
    checks = [part.check for part in parts]
    return Compiled(
        lambda c, t: all(check(c, t) for check in checks), any(part.of_target for part in parts)
    )


def _any(parts: list[Compiled]) -> Compiled:
    checks = [part.check for part in parts]
    return Compiled(
        lambda c, t: any(check(c, t) for check in checks), any(part.of_target for part in parts)
    )


def _field(match: str) -> Compiled:
    """Compile Neutron's own check: `field:port:device_owner=~^network:` (a ~ begins a pattern)."""
    left, _, wanted = match.partition("=")
    name = left.partition(":")[2]
    if wanted.startswith("~"):
        pattern = re.compile(wanted[1:])
        return Compiled(lambda _, t: bool(pattern.match(str(t.get(name, "")))), of_target=True)
    return Compiled(lambda _, t: name in t and str(t[name]) == wanted, of_target=True)


_OF_CALLER: Mapping[str, Callable[[Caller], object]] = {
    "project_id": lambda caller: caller.project_id,
    "tenant_id": lambda caller: caller.project_id,
    "tenant": lambda caller: caller.project_id,
    "user_id": lambda caller: caller.user,
    "user": lambda caller: caller.user,
    "is_admin": lambda caller: caller.is_admin,
}


def _generic(kind: str, match: str) -> Compiled:
    """Compile `project_id:%(project_id)s`: an attribute of the caller, or a literal, must match.

    What the thing has not, and an empty project, is nobody's.
    """
    left = _OF_CALLER.get(kind) or _literal(kind)
    found = _ATTRIBUTE.fullmatch(match)
    if found is None:
        return Compiled(lambda c, _: str(left(c)) == match, of_target=False)
    name = found[1]

    def same(caller: Caller, target: Target) -> bool:
        own = str(left(caller))
        return bool(own) and name in target and own == str(target[name])

    return Compiled(same, of_target=True)


def _literal(kind: str) -> Callable[[Caller], object]:
    try:
        value = ast.literal_eval(kind)
    except (ValueError, SyntaxError):
        raise ConfigError(
            f"rule with {kind!r}: a caller has {', '.join(_OF_CALLER)} and roles"
        ) from None
    return lambda _: value
