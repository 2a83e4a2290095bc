"""Runs commands of python-openstackclient, many in one process: it takes a second to start.

Run by the clients' own Python. A line of standard input is JSON: the words after `openstack`, and
what is in its environment; a line of standard output is what came of it: {"status": …, "out": …,
"err": …}.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientCache, ClientManager


def forget() -> None:
    """Drop the connections of the last command: they are kept for the process's whole life."""
    for kept in vars(ClientManager).values():
        if isinstance(kept, ClientCache):
            kept._handle = None


def run(words: list[str]) -> dict[str, object]:
    """Do what the program `openstack` does with these words."""
    forget()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = OpenStackShell().run(words)
        except SystemExit as stop:  # argparse's
            status = stop.code
        except BaseException:  # noqa: BLE001 - told, as the program would
            traceback.print_exc()
            status = 1
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        words, settings = json.loads(line)
        os.environ.update(settings)
        print(json.dumps(run(words)), file=answers, flush=True)
