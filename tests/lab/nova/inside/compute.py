"""nova-compute with the driver of taps.py; its arguments are nova-compute's.

Nova loads drivers of its package nova.virt only, so this folder becomes a part of that. Run by
.venv-nova's Python.
"""

from __future__ import annotations

from pathlib import Path

from nova.cmd.compute import main  # first: it chooses between threads and eventlet

import nova.virt  # isort: skip

nova.virt.__path__.append(str(Path(__file__).parent))
main()
