"""Makes the page of all commands from the commands: `python -m lessor.cli.reference`.

scripts/pages writes it to docs/reference/cli.md; a test tells when that is due.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from lessor.cli.main import program

HEAD = """\
# Commands

Exit status: 0 done; 1 refused or failed, with a line on standard error that says why; 2 wrong usage
or settings, before anything was done.

Things are named by name or id. Where two have the same name, say the id.

Options of most commands:

- `--server URL`: where the API is; also from the environment, `LESSOR_SERVER`. Default:
  `http://127.0.0.1:9696`. It is without encryption and without authentication.
- `--json`: print what the API said, for programs. Without it, lists are tables: fitted to the
  terminal on a terminal, plain and whole elsewhere. Colours heed `NO_COLOR`.
- `--help`.

Options may be written with `_` for `-`, as nova-manage has them: `--fixed_range_v4`.
`lessor --install-completion` teaches your shell to complete all of it.

Made from the commands by `scripts/pages`; don't edit.
"""
COMMON = {"--server", "--json", "--help", "--install-completion", "--show-completion"}


def page() -> str:
    """Return the reference page, in Markdown."""
    root: Any = typer.main.get_command(program())
    return "\n".join([HEAD, *_commands(root, ("lessor",))])


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[str]:
    """Describe a command and those below it; a group of nouns gets a heading of its own."""
    below = getattr(command, "commands", {})
    if len(words) == 2:  # noqa: PLR2004 - lessor NOUN
        yield f"## {words[1]}\n"
        if below:
            yield f"{_help(command)}\n"
    if len(words) == 1 or getattr(command, "invoke_without_command", False) or not below:
        yield from _command(command, words)
    for name, one in below.items():
        yield from _commands(one, (*words, name))


def _command(command: Any, words: tuple[str, ...]) -> Iterator[str]:
    shown = [one for one in command.params if not _is_common(one)]
    arguments = [one for one in shown if not _is_option(one)]
    options = [one for one in shown if _is_option(one)]
    if len(words) > 1:
        usage = " ".join([*words, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
        yield f"### `{usage}`\n\n{_help(command)}\n"
    items = [_item(one) for one in (*arguments, *options) if _is_option(one) or one.help]
    if items:
        yield "\n".join(items) + "\n"


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help or "")


def _is_option(one: Any) -> bool:
    return bool(one.opts[0].startswith("-"))


def _is_common(one: Any) -> bool:
    return bool(one.hidden or COMMON.intersection(one.opts))


def _usage(one: Any) -> str:
    word = one.metavar or one.name.upper().rstrip("_")
    word += "..." if one.nargs == -1 and not word.endswith(("...", "CMD")) else ""
    return word if one.required else f"[{word}]"


def _item(one: Any) -> str:
    """Describe an argument or option in a line."""
    if not _is_option(one):
        return f"- `{_usage(one)}`: {one.help}"
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    value = "" if one.is_flag else f" {one.metavar or _kind(one)}"
    said = [one.help or "", "Required." if one.required else _default(one)]
    said += [f"Also from the environment, `{one.envvar}`." if one.envvar else ""]
    return f"- {names}{value}: {' '.join(filter(None, said))}".rstrip(": ")


def _kind(one: Any) -> str:
    is_number = isinstance(one.default, int | float) or getattr(one, "min", None) is not None
    return "NUMBER" if is_number else "TEXT"


def _default(one: Any) -> str:
    if one.is_flag or one.default is None or "Default" in (one.help or ""):
        return ""
    return f"Default: {one.default}."


if __name__ == "__main__":
    print(page(), end="")
