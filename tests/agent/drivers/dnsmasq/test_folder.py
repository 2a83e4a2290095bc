"""What a server's folder says of the server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq.folder import ServerFolder
from lessor.agent.drivers.dnsmasq.hook import Hook
from lessor.agent.leases.inbox import Inbox
from lessor.wire import encode
from tests.agent.drivers.dnsmasq_host import BRIDGE, server


@pytest.mark.parametrize("peers", [False, True])
def test_a_header_of_the_former_form_tells_of_peers(tmp_path: Path, peers: bool) -> None:
    hook = Hook(tmp_path / "hook", "nobody", 0, Inbox(tmp_path / "inbox"))
    want = server(peers=peers)
    header = json.loads(encode(want))
    header["authoritative"] = not header.pop("peers")
    (tmp_path / BRIDGE).mkdir()
    (tmp_path / BRIDGE / "server.json").write_text(json.dumps(header))
    assert ServerFolder(tmp_path, BRIDGE, hook).header() == want
