from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.systemd import say_ready


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


def test_systemd_is_told_at_its_socket(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    say_ready()
    assert manager.recv(100) == b"READY=1"


def test_systemd_is_told_at_a_socket_without_a_file(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.bind(f"\0lessor-test{tmp_path}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@lessor-test{tmp_path}")
    say_ready()
    assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_a_process_that_nobody_asked_goes_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    say_ready()
