from __future__ import annotations

import gc

from lessor.api import memory


def test_what_is_there_when_a_server_is_ready_is_not_walked_again() -> None:
    gc.unfreeze()  # what another test of this process froze
    memory.keep_little()
    try:
        memory.settle()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
