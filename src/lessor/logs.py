"""Log lines of our processes, on standard error: a fixed event phrase, then fields."""

from __future__ import annotations

import logging
import sys

import structlog

from lessor.printable import printable_fields


def setup(debug: bool = False) -> None:
    """Set up logging of this process: key=value lines, colours only on a terminal."""
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(levelname)-8s %(message)s logger=%(name)s",
    )
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            printable_fields,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=terminal, pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is at that time
        cache_logger_on_first_use=False,
    )
