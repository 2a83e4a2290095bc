"""Authorization of one caller; the routes of all resources use it before and after the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import UNSET, Struct

from lessor.api.auth.caller import Caller
from lessor.api.rest import bodies
from lessor.api.rest.bodies import Values
from lessor.api.rest.fields import Resource
from lessor.errors import Forbidden, Invalid, NotFound
from lessor.model import Network
from lessor.store.query import Query

if TYPE_CHECKING:  # only with authentication: oslo.policy takes half a second to load
    from lessor.api.auth.checks import Compiled, Target
    from lessor.api.auth.rules import Rules

Rows = Callable[[Query], Sequence[Any]]
# Neutral values, sent by clients that send all attributes. Neutron checks no rule for them.
SAYS_NOTHING: Mapping[str, tuple[object, ...]] = {
    "shared": (False,),
    "router:external": (False,),
    "is_default": (False,),
    "port_security_enabled": (True,),
    "binding:host_id": ("", None),
    "binding:profile": ({}, None),
    "allowed_address_pairs": ([], None),
    "device_owner": ("",),
    "provider:network_type": ("",),
    "lessor:multi_host": (False,),
    "lessor:share_address": (False,),
}
AnyConnection = ASGIConnection[Any, Any, Any, Any]


def access(request: Request[Any, Any, Any]) -> Access:
    """Return the permissions of a request's caller."""
    made: Access = request.app.state.access(request.state.caller)
    return made


async def guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Check the route's own rule; a route without one is for administrators.

    The routes of resources (`routes.routes`) check their rules themselves, for each object.
    """
    rule = handler.opt.get("rule", "default")
    if rule is not None and not connection.scope["path"].startswith("/schema"):
        connection.app.state.access(connection.state.caller).require(rule, {})


class Access:
    """Permissions of one caller.

    Args:
        caller: the caller.
        rules: the rules; None: no authentication, so every caller may do everything.
        named: finds referenced objects, by the referring attribute: "network_id". Rules of
            subnets and ports depend on their network.
    """

    def __init__(self, caller: Caller, rules: Rules | None, named: Mapping[str, Rows]) -> None:
        self.caller = caller
        self._rules = rules
        self._named = named
        self._networks: dict[str, Network | None] = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def checked(self) -> bool:
        """Whether there are rules."""
        return self._rules is not None

    def require(self, rule: str, target: Target) -> None:
        """Raise Forbidden unless a rule permits the caller an action on an object."""
        if self._rules is not None and not self._rules.of(rule).check(self.caller, target):
            raise self._forbidden(rule)

    def _forbidden(self, rule: str) -> Forbidden:
        roles = ", ".join(sorted(self.caller.roles)) or "none"
        return Forbidden(
            f"rule:{rule} is disallowed by policy: {self.caller.user} has the roles {roles} in "
            f"project {self.caller.project_id or 'none'}"
        )

    # --- reading ----------------------------------------------------------------------------------

    def rows(self, resource: Resource, find: Rows, query: Query) -> Sequence[Any]:
        """Return the rows of a list that the caller may see."""
        if self._rules is None:
            return find(query)
        rule = self._rules.of(f"get_{resource.singular}")
        if not rule.of_target and not rule.check(self.caller, {}):
            return []
        rows = find(replace(query, visible_to=self.caller.scope))
        if not rule.of_target:
            return rows
        return [row for row in rows if rule.check(self.caller, self._about(resource, row))]

    def row(self, resource: Resource, find: Rows, get: Callable[[str], Any], key: str) -> Any:
        """Return one row.

        Raises:
            NotFound: no such row, or the caller may not see it.
        """
        if self._rules is None:
            return get(key)
        rule = self._rules.of(f"get_{resource.singular}")
        if self.caller.scope is None and not rule.of_target and rule.check(self.caller, {}):
            return get(key)
        found = self.rows(resource, find, Query(filters={"id": (key,)}))
        if not found:
            raise _not_found(resource.singular, key)
        return found[0]

    def again(self, resource: Resource, find: Rows, row: Any) -> Any:
        """Return a row just changed as the caller sees it: `shared` depends on the caller."""
        if self._rules is None or self.caller.scope is None or "shared" not in resource.by_name:
            return row
        return next(iter(self.rows(resource, find, Query(filters={"id": (row.id,)}))), row)

    def check_query(self, resource: Resource, pairs: Sequence[tuple[str, str]]) -> None:
        """Refuse filters and sorting by attributes hidden from the caller: they would leak them."""
        if self._rules is None or not pairs:
            return
        asked = {value if name == "sort_key" else name for name, value in pairs}
        action = f"get_{resource.singular}"
        for name, rule in self._rules.attributes(action).items():
            if name in asked and not rule.check(self.caller, self._own()):
                raise self._forbidden(f"{action}:{name}")

    def shown(
        self, resource: Resource, rows: Sequence[Any], facts: Any, only: Collection[str] = ()
    ) -> list[dict[str, Any]]:
        """Return rows as JSON-ready dicts, without attributes that the caller may not see."""
        if self._rules is None or not rows:
            return bodies.shown(resource, rows, facts, only)
        rules = self._rules.attributes(f"get_{resource.singular}")
        hidden = {
            name
            for name, rule in rules.items()
            if not rule.of_target and not rule.check(self.caller, {})
        }
        if hidden:
            only = (set(only) or resource.by_name.keys()) - hidden
            if not only:
                return [{} for _ in rows]
        shown = bodies.shown(resource, rows, facts, only)
        for name, rule in rules.items():
            if rule.of_target:
                self._hide(resource, name, rule, rows, shown)
        return shown

    def _hide(
        self,
        resource: Resource,
        name: str,
        rule: Compiled,
        rows: Sequence[Any],
        shown: Sequence[dict[str, Any]],
    ) -> None:
        for row, item in zip(rows, shown, strict=True):
            if name in item and not rule.check(self.caller, self._about(resource, row)):
                del item[name]

    # --- writing ----------------------------------------------------------------------------------

    def signature(self, resource: Resource) -> Values:
        """Return the caller's data that the store gets besides the values."""
        scope = self.caller.scope if self._rules is not None and resource.limited else None
        return {} if scope is None else {"acts_for": scope}

    def creation(self, resource: Resource, body: Struct, values: Values) -> Values:
        """Check the values of an object to create; return them, with its project.

        Raises:
            NotFound: the caller may not see its network.
            Forbidden: the caller may not create it, or not with these attributes.
            Invalid: it has another project, or shares another project's object.
        """
        if self._rules is None:
            return values
        self._check_project(values)
        if "project_id" in resource.by_name and resource.singular != "subnet":
            values.setdefault("project_id", self.caller.project_id)  # a subnet's is its network's
        shared = _shared_by(values)
        network_id = values.get("network_id", shared.get("network_id"))
        self._check_named({**values, **shared})
        given = dict(_given(resource, body))
        project = {key: values.get("project_id", "") for key in ("project_id", "tenant_id")}
        target = _Target(
            given | project, lambda: self._network(network_id), lambda: self._object(shared)
        )
        action = f"create_{resource.singular}"
        try:
            self._check(action, resource, given, target)
        except Forbidden:
            self._check_owned(action, resource, given, target, shared)
            raise
        return {**values, **self.signature(resource)}

    def _check_owned(
        self,
        action: str,
        resource: Resource,
        given: Mapping[str, Any],
        target: Target,
        shared: Mapping[str, Any],
    ) -> None:
        """Raise Invalid if the only obstacle is that the object to share is another project's.

        Neutron then answers 400, and 403 to a caller that may not share at all or in this way.
        """
        thing = self._object(shared)
        if thing is None or thing.project_id == self.caller.project_id:
            return
        own = replace(thing, project_id=self.caller.project_id)
        self._check(action, resource, given, _Target(target, _nothing, lambda: own))
        noun = next(iter(shared)).removesuffix("_id").replace("_", " ")
        raise Invalid(
            f"{noun} {thing.id} is another project's: only that project and administrators share it"
        )

    def _check_project(self, values: Values) -> None:
        if values.get("project_id", self.caller.project_id) == self.caller.project_id:
            return
        if self.caller.scope is not None:
            raise Invalid(
                f"project_id {values['project_id']!r} is not the caller's own, "
                f"{self.caller.project_id!r}: that takes an administrator; leave it out",
                type_="HTTPBadRequest",
            )

    def change(self, resource: Resource, row: Any, body: Struct) -> None:
        """Check a change of a row that the caller may see."""
        if self._rules is not None:
            given = dict(_given(resource, body))
            self._check_named(given)
            target = self._about(resource, row, given)
            self._check(f"update_{resource.singular}", resource, given, target, row)

    def rewriting(self, resource: Resource, row: Any) -> None:
        """Check that the caller may change any attribute of a row that it may see."""
        if self._rules is not None:
            self.require(f"update_{resource.singular}", self._about(resource, row))

    def deletion(self, resource: Resource, row: Any) -> None:
        """Check that the caller may delete a row that it may see."""
        if self._rules is not None:
            self.require(f"delete_{resource.singular}", self._about(resource, row))

    def _check(
        self,
        action: str,
        resource: Resource,
        given: Mapping[str, Any],
        target: Target,
        before: Any = None,
    ) -> None:
        assert self._rules is not None
        self.require(action, target)
        for name, rule in self._rules.attributes(action).items():
            if _says(resource, given, name, before) and not rule.check(self.caller, target):
                raise self._forbidden(f"{action}:{name}")

    # --- targets of rules -------------------------------------------------------------------------

    def _own(self) -> Target:
        project = self.caller.project_id
        names = ("project_id", "tenant_id", "network:project_id", "network:tenant_id")
        return dict.fromkeys(names, project)

    def _about(
        self, resource: Resource, row: Any, given: Mapping[str, Any] | None = None
    ) -> _Target:
        known = {f.name: getattr(row, f.key) for f in resource.fields if hasattr(row, f.key)}
        network_id = None if isinstance(row, Network) else getattr(row, "network_id", None)
        return _Target({**known, **(given or {})}, lambda: self._network(network_id))

    def _network(self, network_id: str | None) -> Network | None:
        """Return a network, also one hidden from the caller; None: no such network."""
        if network_id is not None and network_id not in self._networks:
            found = self._named["network_id"](Query(filters={"id": (network_id,)}))
            self._networks[network_id] = found[0] if found else None
        return self._networks.get(network_id or "")

    def _object(self, shared: Mapping[str, Any]) -> Any:
        """Return the object that a policy shares; None: no such object."""
        for attribute, key in shared.items():
            if attribute in self._named:
                found = self._named[attribute](Query(filters={"id": (key,)}))
                return found[0] if found else None
        return None

    def _check_named(self, values: Mapping[str, Any]) -> None:
        """Raise NotFound if a value refers to an object that the caller may not see."""
        if self.caller.scope is None:
            return
        for attribute, find in self._named.items():
            key = values.get(attribute)
            query = Query(filters={"id": (key,)}, visible_to=self.caller.scope)
            if key and (attribute, key) not in self._seen:
                if not find(query):
                    raise _not_found(attribute.removesuffix("_id"), key)
                self._seen.add((attribute, key))


def _not_found(noun: str, key: str) -> NotFound:
    """Return the same error as the store's for a missing object."""
    words = {"subnetpool": "subnet pool", "rbac_policy": "RBAC policy"}.get(noun, noun)
    words = words.replace("_", " ")
    name = words.replace("RBAC", "rbac").title().replace(" ", "")
    return NotFound(f"there is no {words} {key}", type_=f"{name}NotFound")


def _shared_by(values: Values) -> dict[str, Any]:
    """Return the object of an RBAC policy, as a referring attribute; {} for other resources."""
    if "object_type" not in values:
        return {}
    return {f"{values['object_type']}_id": values.get("object_id")}


def _nothing() -> None:
    return None


class _Target(dict[str, Any]):
    """The target of a rule; its network, or the object it shares, is read when a rule needs it."""

    def __init__(
        self,
        known: Mapping[str, Any],
        network: Callable[[], Any],
        shared: Callable[[], Any] = _nothing,
    ) -> None:
        super().__init__(known)
        self._others = {"network": network, "object": shared}

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (
            isinstance(name, str) and ":" in name and self._other(name) is not None
        )

    def _other(self, name: str) -> Any:
        return self._others.get(name.partition(":")[0], _nothing)()

    def __missing__(self, name: str) -> Any:
        attribute = name.partition(":")[2].replace("tenant_id", "project_id")
        return getattr(self._other(name), attribute, "")


def _given(resource: Resource, body: Struct) -> Iterator[tuple[str, Any]]:
    for field in resource.fields:
        value = getattr(body, field.python, UNSET)
        if value is not UNSET:
            yield field.name, value


def _says(resource: Resource, given: Mapping[str, Any], name: str, before: Any) -> bool:
    """Return whether a client set an attribute, or a part of its items.

    A neutral value sets nothing on a new row, but does on a row with another value: a member must
    not undo what an administrator bound, shared or unguarded.
    """
    if name in resource.by_name:
        if name not in given or given[name] not in SAYS_NOTHING.get(name, ()):
            return name in given
        present = getattr(before, resource.by_name[name].key, given[name])
        return bool(present) != bool(given[name])
    field, _, part = name.rpartition(":")
    items = given.get(field)
    return isinstance(items, list) and any(getattr(i, part, UNSET) is not UNSET for i in items)
