"""A client that makes, changes, reads and deletes ports, and moves the end of a pool."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from lessor.lab.cloud import LabNetwork
from tests.campaign.api import Api, GivenUp
from tests.campaign.guest import Control
from tests.campaign.history import History, PortRecord

PAUSE_S = (0.05, 0.3)
MANY = 3  # in one call
MOST = 14  # ports of one churn
POOL = (10, 26)  # last byte of a pool's ends: so few addresses that each is soon given again
WIDE = 60  # where hosts have addresses of their own, too, for which there must be room
SHORTER = 2


class Churn(threading.Thread):
    """One client."""

    def __init__(
        self, name: str, api: Api, control: Control, history: History,
        *, networks: Sequence[LabNetwork], hosts: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self.have: list[PortRecord] = []
        self._api, self._control, self._history = api, control, history
        self._networks, self._hosts = networks, hosts
        self._dice = random.Random(name)  # noqa: S311 - a test
        self._made = 0

    def run(self) -> None:
        try:
            while not self._control.settle.wait(self._dice.uniform(*PAUSE_S)):
                self._turn()
        except GivenUp:
            self._history.broken.append(f"{self.name}: no server answered")
        except Exception as error:  # noqa: BLE001 - it must stand in the report, not in a thread
            self._history.broken.append(f"{self.name} ended: {error!r}")
        finally:
            self._api.close()

    def _turn(self) -> None:
        chance = self._dice.random()
        if len(self.have) < 2 or (chance < 0.35 and len(self.have) < MOST):
            self._create(1)
        elif chance < 0.42 and len(self.have) < MOST:
            self._create(MANY)
        elif chance < 0.7:
            self._api.delete(self.have.pop(self._dice.randrange(len(self.have))))
        elif chance < 0.82:
            self._made += 1
            self._api.describe(self._dice.choice(self.have), f"{self.name}-{self._made}")
        elif chance < 0.97:
            self._api.read(self._dice.choice(self.have))
        else:
            self._move_pool()

    def _create(self, count: int) -> None:
        names = []
        for _ in range(count):
            self._made += 1
            names.append(f"{self.name}-{self._made}")
        bound = {"binding:host_id": self._dice.choice(self._hosts)}
        network = self._dice.choice(self._networks)
        more = bound if self._dice.random() < 0.7 else {}
        self.have += self._api.create_many(network.id, names, **more)

    def _move_pool(self) -> None:
        network = self._dice.choice(self._networks)
        pools = [pool_of(network, shorter=self._dice.choice((0, SHORTER)))]
        body = {"subnet": {"allocation_pools": pools}}
        self._api.ask("update subnet", "PUT", f"subnets/{network.subnet_id}", body)


def pool_of(network: LabNetwork, *, shorter: int = 0) -> dict[str, str]:
    end = WIDE if network.multi_host else POOL[1]
    return {"start": str(network.cidr[POOL[0]]), "end": str(network.cidr[end - shorter])}
