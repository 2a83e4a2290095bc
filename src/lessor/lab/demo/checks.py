"""The demo's checks of each VM."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx

from lessor.errors import LessorError
from lessor.lab.cabling import OUTSIDE
from lessor.lab.guest.realvm import RealVm
from lessor.lab.lab import Lab
from lessor.lab.vm import Vm
from lessor.net.address import Address

METADATA = "http://169.254.169.254"
LEASE_TIMEOUT_S, GUEST_TIMEOUT_S, ACTIVE_TIMEOUT_S = 30, 180, 30


@dataclass(slots=True, kw_only=True)
class Seen:
    """A VM's lease and the targets that it reached; `failures` describes what failed."""

    name: str
    host: str
    real: bool
    network: str
    assigned: str
    leased: str | None = None
    dora_ms: float | None = None
    gateway_ok: bool | None = None  # None: it has no way out, as on an overlay network
    metadata_ok: bool = False
    outside_ok: bool | None = None
    instance_id: str = ""
    outside_sees: str = ""
    neighbour_ok: bool | None = None  # None: not asked
    neighbour_says: str = ""
    failures: list[str] = field(default_factory=list)

    def expect(self, so: bool, otherwise: str) -> bool:
        """Record the failure `otherwise` unless `so`."""
        if not so:
            self.failures.append(otherwise)
        return so


def look(lab: Lab, vm: Vm, seen_as: Address) -> Seen:
    """Wait for a VM's lease and check what it reaches; the outside must see it as `seen_as`."""
    seen = look_inside(lab, vm)
    lease = vm.last_lease()
    if lease is None:
        return seen
    try:
        answered = lease.router is not None and vm.ping(lease.router)
        seen.gateway_ok = seen.expect(answered, f"its gateway {lease.router} doesn't answer a ping")
        seen.outside_sees = fetch(vm, f"http://{OUTSIDE}/")
        right = seen.outside_sees == str(seen_as)
        said = f"the outside sees {seen.outside_sees or 'nothing'}, {seen_as} is right"
        seen.outside_ok = seen.expect(right, said)
    except (LessorError, OSError) as error:
        seen.failures.append(str(error))
    return seen


def look_inside(lab: Lab, vm: Vm) -> Seen:
    """Wait for a VM's lease and check its metadata."""
    state = vm.state
    seen = Seen(
        name=state.name,
        host=state.host,
        real=state.real,
        network=state.network,
        assigned=str(state.assigned),
    )
    try:
        _look_at_lease(lab, vm, seen)
        _look_at_metadata(vm, seen)
    except (LessorError, OSError) as error:
        seen.failures.append(str(error))
    return seen


def _look_at_lease(lab: Lab, vm: Vm, seen: Seen) -> None:
    lab.wait_active(vm, ACTIVE_TIMEOUT_S)
    lease = vm.dhcp(GUEST_TIMEOUT_S if seen.real else LEASE_TIMEOUT_S)
    if isinstance(vm, RealVm):
        vm.report(GUEST_TIMEOUT_S)  # its own first look around; the shell answers after it
    seen.leased, seen.dora_ms = str(lease.address), lease.dora_ms
    seen.expect(seen.leased == seen.assigned, f"leased {seen.leased}, not {seen.assigned}")


def _look_at_metadata(vm: Vm, seen: Seen) -> None:
    """Check that the VM gets the instance id of its own port."""
    seen.instance_id = fetch(vm, f"{METADATA}/latest/meta-data/instance-id")
    seen.expect(bool(seen.instance_id), "metadata has no instance-id")
    text = fetch(vm, f"{METADATA}/openstack/latest/meta_data.json")
    uuid = json.loads(text)["uuid"] if text else None
    right = vm.state.device_id
    seen.metadata_ok = seen.expect(uuid == right, f"metadata says instance {uuid}, not {right}")
    seen.metadata_ok = seen.metadata_ok and bool(seen.instance_id)


def fetch(vm: Vm, url: str) -> str:
    """Return the text of a page that the VM fetches; "" if that fails."""
    try:
        return vm.http(url).strip()
    except (LessorError, OSError, httpx.HTTPError):
        return ""
