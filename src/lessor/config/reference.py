"""The sample settings file and the reference page, made from the options themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from lessor.config.options import NOVA_ONLY, TOPICS

SAMPLE_HEAD = """\
# Settings of Lessor: lessor server, lessor agent and lessor up read this file from
# /etc/lessor/lessor.conf, or from where --config-file says. Every option is shown with its
# default; take the "#" away to change one.
"""
PAGE_HEAD = """\
# Settings

All processes read `/etc/lessor/lessor.conf` if it is there, or the files named by `--config-file`
(repeatable; later ones win). The format is oslo.config's, and options that nova-network has keep
its names, so a `nova.conf` can be given as it is: options that are not below are ignored with one
warning that names them. A `$name` in a value stands for the value of another option; write `$$` for
a dollar sign. Wrong values are all reported at once, before anything starts.

Made from the options by `lessor config reference`; don't edit.
"""


def sample() -> str:
    """Return a settings file with every option, its help and its default, commented out."""
    blocks = [SAMPLE_HEAD]
    section = ""
    for topic, group, options in sorted(TOPICS, key=lambda topic: topic[1] != "DEFAULT"):
        if group != section:
            blocks.append(f"[{group}]\n")
            section = group
        blocks.append(f"# --- {topic} ---\n")
        blocks += [_sample_option(option) for option in options]
    return "\n".join(blocks)


def page() -> str:
    """Return the reference page, in Markdown."""
    blocks = [PAGE_HEAD]
    for topic, group, options in TOPICS:
        blocks.append(f"## {topic}\n\nSection `[{group}]`.\n")
        blocks += [_page_option(option) for option in options]
    blocks.append("## nova-network's options that are ignored\n")
    blocks.append("".join(f"- `{name}`: {why}\n" for name, why in sorted(NOVA_ONLY.items())))
    return "\n".join(blocks)


def _sample_option(option: Any) -> str:
    lines = textwrap.wrap(option.help, 96)
    lines += [f"({limits})" for limits in [", ".join(_limits(option))] if limits]
    values = [f"#{option.dest} ={shown and ' ' + shown}" for shown in _defaults(option)]
    return "".join(f"# {line}\n" for line in lines) + "".join(f"{value}\n" for value in values)


def _page_option(option: Any) -> str:
    default = ", ".join(f"`{shown}`" for shown in _defaults(option) if shown) or "none"
    facts = [f"Default: {default}", *_limits(option)]
    return f"### `{option.dest}`\n\n{option.help}\n\n{'; '.join(facts)}.\n"


def _limits(option: Any) -> Iterator[str]:
    kind = option.type
    if getattr(kind, "choices", None):
        yield f"one of {', '.join(kind.choices)}"
    if getattr(kind, "min", None) is not None:
        yield f"least {kind.min}"
    if getattr(kind, "max", None) is not None:
        yield f"most {kind.max}"
    if isinstance(option, cfg.MultiOpt):
        yield "may be repeated"


def _defaults(option: Any) -> list[str]:
    default = option.default if option.sample_default is None else option.sample_default
    if isinstance(option, cfg.MultiOpt):
        return [str(value) for value in default] or [""]
    if isinstance(default, list):
        return [",".join(str(value) for value in default)]
    return ["" if default is None else str(default)]
