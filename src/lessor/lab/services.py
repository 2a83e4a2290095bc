"""Starts the programs of a lab's nodes: web server of the outside, server, agent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from lessor.lab import clock
from lessor.lab.netns import in_netns
from lessor.lab.node import Node
from lessor.lab.outside import PORT
from lessor.lab.process import Process
from lessor.lab.wait import wait_for

AGENT, SERVER, OUTSIDE = "agent", "server", "outside"
LESSOR = str(Path(sys.executable).with_name("lessor"))  # of this Python environment
OUTSIDE_TIMEOUT_S = 60
TOKEN = "agent-token"  # noqa: S105 - the name of a file, not what is in it


def start_outside(node: Node) -> Process:
    """Start the web server of the outside, and wait until it answers."""
    started = node.spawn(OUTSIDE, sys.executable, "-m", "lessor.lab.outside")
    wait_for(lambda: _listens(node), OUTSIDE_TIMEOUT_S, "the outside's web server answers")
    return started


def _listens(node: Node) -> bool:
    def connect() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", PORT)) == 0

    return in_netns(node.netns, connect)


def start_server(node: Node) -> Process:
    """Start `lessor server` with the node's settings file."""
    return node.spawn(SERVER, *clock.program(node, LESSOR), "server", *_settings())


def start_agent(node: Node) -> Process:
    """Start `lessor agent` with the node's settings file and token."""
    return node.spawn(AGENT, *clock.program(node, LESSOR), "agent", *_settings())


def write_settings(node: Node, *texts: str) -> None:
    """Write the node's settings file; later texts win over earlier ones."""
    (node.etc_dir / "lessor.conf").write_text("\n".join(texts))


def write_token(node: Node, token: str) -> None:
    """Write an agent's token, readable by root only."""
    path = node.state_dir / TOKEN
    path.touch(mode=0o600)
    path.write_text(token + "\n")


def _settings() -> tuple[str, str]:
    return ("--config-file", "/etc/lessor/lessor.conf")
