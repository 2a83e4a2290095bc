"""The pages about passwords and about Keystone, typed as they are; the latter with Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.lab.guest.image import default_cache
from tests.docs.follow import Reader
from tests.docs.machine import Machine
from tests.docs.page import steps
from tests.docs.test_howto import CLIENTS, PAGES, ROOT, SET_UP

KEYSTONE = ROOT / ".venv-keystone/bin/python"
STARTED = f"""({KEYSTONE} {Path(__file__).parent}/keystone_server.py /tmp/keystone 5000 wonderland >/tmp/keystone.log 2>&1 &)
export OS_AUTH_URL=http://127.0.0.1:5000/v3 OS_USERNAME=admin OS_PASSWORD=wonderland OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default OS_IDENTITY_API_VERSION=3
until openstack token issue; do sleep 1; done"""
PATIENCE_S = 240  # Keystone's own set-up takes a minute on a busy machine

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.clients,
    pytest.mark.skipif(not CLIENTS.exists(), reason="scripts/setup makes .venv-clients"),
]


@pytest.fixture
def reader() -> Iterator[Reader]:
    machine = Machine(ROOT, default_cache())
    path = f"{CLIENTS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        machine.start()
        reader = Reader(lambda _: machine.terminal({"PATH": path}))
        reader.terminal().run(SET_UP)
        yield reader
    finally:
        machine.stop()


def test_the_page_about_passwords_is_true(reader: Reader) -> None:
    reader.follow(steps((PAGES / "ask-for-passwords.md").read_text()), PATIENCE_S)


@pytest.mark.skipif(not KEYSTONE.exists(), reason="scripts/setup --long makes .venv-keystone")
def test_the_page_about_keystone_is_true(reader: Reader) -> None:
    reader.terminal().run(STARTED, PATIENCE_S)
    reader.follow(steps((PAGES / "use-keystone.md").read_text()), PATIENCE_S)
