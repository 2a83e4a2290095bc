"""`lessor server` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.ports import Port

START_S = 60


class Process:
    """`lessor server`."""

    def __init__(self, folder: Path, connection: str, *args: str) -> None:
        folder.mkdir(exist_ok=True)
        self._ports = [Port(), Port()]
        ports = [port.number for port in self._ports]
        self.url, self.agents = (f"http://127.0.0.1:{port}" for port in ports)
        self.log = folder / f"log-{ports[0]}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "lessor.cli.main", "server", "--state-dir", str(folder),
                    "--listen", f"127.0.0.1:{ports[0]}", "--agent-listen", f"127.0.0.1:{ports[1]}",
                    "--set", f"database.connection={connection}",
                    "--set", "flat_network_bridge=br100", *args,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def wait(self) -> None:
        end = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{self.url}/v2.0/networks", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def last_words(self) -> str:
        return f"{self.url} said last:\n{self.log.read_text()[-20_000:]}\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Kill it if it is still there, and let others have its ports."""
        self.kill()
        for port in self._ports:
            port.leave()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0, self.log.read_text()
