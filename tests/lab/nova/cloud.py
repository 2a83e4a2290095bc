"""A cloud around a lab: Keystone, Placement and Nova of PyPI, as in docs/how-to/behind-nova.md.

All of it runs in the lab's nodes, which call the server node `controller`, as the pages do:
Keystone, Placement, Nova's API, conductor and scheduler, RabbitMQ and Lessor's server there,
nova-compute on cmp1 and cmp2. PostgreSQL listens on a unix socket. What Nova asks of Lessor passes
`calls.py`, which writes it down. Glance is a stand-in.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from lessor.client import Client
from lessor.lab.cabling import SERVER as CONTROLLER
from lessor.lab.lab import Lab
from lessor.lab.netns import NetnsTransport
from lessor.lab.services import write_settings
from lessor.lab.settings_file import API_PORT
from tests.lab.nova import settings
from tests.lab.nova.settings import (
    ADMIN,
    ADMIN_PASSWORD,
    COMPUTE_PORT,
    IDENTITY_PORT,
    IMAGE_PORT,
    PLACEMENT_PORT,
)
from tests.postgres import Cluster, cluster

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
NOVA = ROOT / ".venv-nova/bin"
KEYSTONE = ROOT / ".venv-keystone/bin/python"
CLIENTS = ROOT / ".venv-clients/bin/python"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
COMPUTE_HOSTS = ("cmp1", "cmp2")
SET_UP_S, START_S, ASK_S = 300, 180, 90  # on a busy machine
MICROVERSION = "compute 2.96"
HOSTS_FILE = f"""printf '127.0.0.1 localhost\\n{CONTROLLER} controller\\n' >/run/hosts
mount --bind /run/hosts /etc/hosts"""


@dataclass
class Api:
    """One of the cloud's services, asked by one user."""

    http: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask for something that has to work."""
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def knows(self, path: str) -> bool:
        """Tell whether there is such a thing."""
        return self.http.get(path).status_code != httpx.codes.NOT_FOUND


@dataclass
class Cloud:
    """The whole of it."""

    lab: Lab
    database: Cluster
    flavor: str = "1"
    _opened: list[httpx.Client] = field(default_factory=list)

    # --- its services, as users ask them ----------------------------------------------------------

    def _client(self, port: int, path: str = "", **headers: str) -> httpx.Client:
        made = httpx.Client(
            base_url=f"http://{CONTROLLER}:{port}{path}",
            headers={name.replace("_", "-"): text for name, text in headers.items()},
            transport=NetnsTransport(self.lab.node("server").netns),
            trust_env=False,
            timeout=ASK_S,
        )
        self._opened.append(made)
        return made

    def token(self, user: str, password: str, project: str) -> str:
        """Log in."""
        domain = {"name": "Default"}
        who = {"name": user, "password": password, "domain": domain}
        identity = {"methods": ["password"], "password": {"user": who}}
        scope = {"project": {"name": project, "domain": domain}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer = self._client(IDENTITY_PORT).post("/v3/auth/tokens", json=body)
        assert answer.is_success, answer.text
        return str(answer.headers["X-Subject-Token"])

    def admin(self) -> str:
        """Log in as the administrator."""
        return self.token("admin", ADMIN_PASSWORD, "admin")

    def nova(self, token: str) -> Api:
        """Return Nova's API for the owner of a token."""
        headers = {"X_Auth_Token": token, "OpenStack_API_Version": MICROVERSION}
        return Api(self._client(COMPUTE_PORT, "/v2.1", **headers))

    def lessor(self, token: str) -> Client:
        """Return Lessor's API for the owner of a token."""
        transport = NetnsTransport(self.lab.node("server").netns)
        url = f"http://127.0.0.1:{API_PORT}"
        return Client(url, transport=transport, headers={"X-Auth-Token": token})

    # --- what was said ----------------------------------------------------------------------------

    def calls(self) -> list[dict[str, Any]]:
        """Return what Nova asked of Lessor so far, and what came of it."""
        text = self.lab.node("server").log("calls").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def told(self, port_id: str, code: str = "200") -> list[str]:
        """Return the events of a port that Lessor told Nova, in order, by how Nova took them."""
        said = self.lab.node("server").log("server").read_text()
        return re.findall(rf"compute API .*code={code} name=(\S+) port={port_id}", said)

    # --- starting it ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all, and wait until Nova has both compute hosts."""
        for name in ("server", *COMPUTE_HOSTS):
            self.lab.exec(name, "sh", "-ec", HOSTS_FILE)
        self._write_settings()
        self._start_what_nova_needs()
        self._set_nova_up()
        self._wait_for(IDENTITY_PORT, "/v3", "Keystone")
        self._make_users()
        self._restart_lessor()
        self._start_nova()
        nova = self.nova(self.admin())
        both = {*COMPUTE_HOSTS}
        self.lab.wait_for(lambda: _hypervisors(nova) == both, START_S, f"Nova has {both}")
        flavor = {"name": "small", "vcpus": 1, "ram": 64, "disk": 1, "id": self.flavor}
        nova.ask("POST", "/flavors", {"flavor": flavor})

    @property
    def _folder(self) -> Path:
        return self.lab.folder / "nova"

    def _write_settings(self) -> None:
        for name in settings.DATABASES:
            self.database.execute("postgres", f"CREATE DATABASE {name}".encode())
        self._folder.mkdir()
        for name, text in settings.files(self.database.folder).items():
            (self._folder / name).write_text(text)

    def _spawn(self, host: str, what: str, *argv: object, **env: str) -> None:
        node = self.lab.node(host)
        self.lab._record(host, what, node.spawn(what, *map(str, argv), env=env))

    def _start_what_nova_needs(self) -> None:
        keystone = (KEYSTONE, ROOT / "tests/docs/keystone_server.py", "/run/keystone")
        self._spawn("server", "keystone", *keystone, IDENTITY_PORT, ADMIN_PASSWORD, "controller")
        python = sys.executable
        self._spawn("server", "images", python, HERE / "images.py", CONTROLLER, IMAGE_PORT)
        calls = (python, HERE / "calls.py", CONTROLLER, API_PORT, API_PORT)
        self._spawn("server", "calls", *calls)
        self.lab.exec("server", "mkdir", "/run/rabbitmq", "/run/nova")
        config = {"RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf")}
        self._spawn("server", "rabbitmq", RABBITMQ, **settings.RABBITMQ, **config)

    def _set_nova_up(self) -> None:
        script = settings.set_up(NOVA, self._folder, self.database.folder)
        self.lab.exec("server", "sh", "-ec", script, timeout_s=SET_UP_S)

    def _make_users(self) -> None:
        program = (str(CLIENTS), str(ROOT / "tests/clients/inside/openstack_commands.py"))
        words = settings.commands()
        lines = "".join(json.dumps([one, ADMIN]) + "\n" for one in words)
        said = self.lab.node("server").exec(*program, stdin=lines, timeout_s=SET_UP_S)
        outcomes = [json.loads(line) for line in said.splitlines()]
        pairs = zip(words, outcomes, strict=True)
        wrong = [(typed, outcome) for typed, outcome in pairs if outcome["status"]]
        assert not wrong, wrong

    def _restart_lessor(self) -> None:
        """Give the lab's server the settings of both pages besides its own."""
        node = self.lab.node("server")
        file = node.etc_dir / "lessor.conf"
        own = file.read_text()
        node.exec("sh", "-ec", settings.lessor_with_keystone())
        self.lab.kill("server", "server", "TERM")
        write_settings(node, own, file.read_text(), settings.lessor_with_nova())
        with self.lab.api:  # the client without a token
            self.lab._api = self.lessor(self.admin())
        self.lab.start("server", "server")

    def _start_nova(self) -> None:
        conf = self._folder / "nova.conf"
        python, wsgi = NOVA / "python", HERE / "inside/wsgi.py"
        paste = NOVA.parent / "etc/nova/api-paste.ini"
        placement = {"OS_PLACEMENT_CONFIG_DIR": str(self._folder)}
        at = f"{CONTROLLER}:{PLACEMENT_PORT}"
        self._spawn("server", "placement", python, wsgi, "placement.wsgi.api", at, **placement)
        api = {"OS_NOVA_CONFIG_FILES": f"{paste};{conf}"}
        at = f"{CONTROLLER}:{COMPUTE_PORT}"
        self._spawn("server", "nova-api", python, wsgi, "nova.wsgi.osapi_compute", at, **api)
        for what in ("nova-conductor", "nova-scheduler"):
            self._spawn("server", what, NOVA / what, "--config-file", conf)
        for host in COMPUTE_HOSTS:
            self.lab.exec(host, "mkdir", "/run/nova")
            program = HERE / "inside/compute.py"
            self._spawn(host, "nova-compute", python, program, "--config-file", conf)
        self._wait_for(PLACEMENT_PORT, "/", "Placement")
        self._wait_for(COMPUTE_PORT, "/", "Nova's API")

    def _wait_for(self, port: int, path: str, what: str) -> None:
        client = self._client(port)

        def answers() -> bool:
            try:
                return client.get(path).status_code < httpx.codes.INTERNAL_SERVER_ERROR
            except httpx.TransportError:
                return False

        self.lab.wait_for(answers, START_S, f"{what} answers")

    def close(self) -> None:
        """End our own connections."""
        for client in self._opened:
            client.close()


def _hypervisors(nova: Api) -> set[str]:
    found = nova.ask("GET", "/os-hypervisors")["hypervisors"]
    return {one["hypervisor_hostname"] for one in found if one["state"] == "up"}


@contextmanager
def cloud(lab: Lab) -> Iterator[Cloud]:
    """Start a cloud in a lab. Its programs end with the lab's nodes, before their database."""
    with cluster() as database:
        made = Cloud(lab, database)
        try:
            made.start()
            yield made
        finally:
            made.close()
            lab.down()
