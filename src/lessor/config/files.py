"""Reads settings files: values in their options' types, and all errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from lessor.config.auth import PASSED_ON
from lessor.config.options import NOVA_ONLY, TOPICS, by_key
from lessor.errors import ConfigError

DEFAULT_FILE = Path("/etc/lessor/lessor.conf")

Key = tuple[str, str]  # section, name


@dataclass(frozen=True, slots=True)
class Values:
    """The content of settings files.

    `values` has the valid values, by (section, name); `wrong` has a line for each invalid one;
    `ignored` has the names of unknown options; `passed_on` has the sections that a library reads,
    as text.
    """

    values: dict[Key, Any]
    wrong: tuple[str, ...]
    ignored: tuple[str, ...]
    passed_on: dict[str, dict[str, str]]


def read(files: Sequence[Path], overrides: Mapping[str, object]) -> Values:
    """Read settings files: later ones win over earlier ones, and `overrides` over all.

    Args:
        files: paths; none: /etc/lessor/lessor.conf if it exists.
        overrides: by option name ("listen", "database.connection"), as text or in the option's
            type; None: no override.

    Raises:
        ConfigError: a file can't be read.
    """
    found = list(files) or [file for file in (DEFAULT_FILE,) if file.is_file()]
    given = _parse(found)
    conf = _options(found)
    passed_on = _passed_on(given, overrides)
    wrong = _override(conf, {k: v for k, v in overrides.items() if _section(k) not in PASSED_ON})
    values = {}
    for key in by_key():
        try:
            values[key] = _value(conf, key)
        except (ValueError, cfg.Error) as error:
            origin = _origin(given, key)
            if origin:  # else a default that refers to a wrong value, which is listed itself
                wrong.append(f"{_label(key)}{origin}: {_reason(error)}")
    return Values(values, tuple(wrong), tuple(_ignored(given)), passed_on)


def _section(name: str) -> str:
    return name.rpartition(".")[0]


def _passed_on(
    given: Mapping[Key, list[tuple[Path, str]]], overrides: Mapping[str, object]
) -> dict[str, dict[str, str]]:
    """Return the sections that a library reads; of a repeated option, the last value."""
    found: dict[str, dict[str, str]] = {section: {} for section in PASSED_ON}
    for (section, name), lines in given.items():
        if section in found:
            found[section][name] = lines[-1][1]
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if section in found and value is not None:
            found[section][name] = str(value)
    return found


def _parse(files: Iterable[Path]) -> dict[Key, list[tuple[Path, str]]]:
    """Return all values of the files, each with its file."""
    given: dict[Key, list[tuple[Path, str]]] = {}
    for file in files:
        sections: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(str(file), sections).parse()
        except FileNotFoundError:
            raise ConfigError(f"settings file {file} does not exist") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"settings file {file} can't be read: {error}") from error
        except cfg.ParseError as error:
            raise ConfigError(f"settings file {error}") from error
        for section, assignments in sections.items():
            group = section.lower() if section.upper() != "DEFAULT" else "DEFAULT"
            for name, texts in assignments.items():
                key = (group, name.replace("-", "_"))
                given.setdefault(key, []).extend((file, text) for text in texts)
    return given


def _options(files: Sequence[Path]) -> Any:
    conf = cfg.ConfigOpts()
    for _, section, options in TOPICS:
        conf.register_opts(options, group=None if section == "DEFAULT" else section)
    conf(
        args=[],
        project="lessor",
        default_config_files=[str(file) for file in files],
        default_config_dirs=[],
        use_env=False,
    )
    return conf


def _override(conf: Any, overrides: Mapping[str, object]) -> list[str]:
    """Set overrides; return a line for each wrong one."""
    wrong = []
    for name, value in overrides.items():
        if value is None:
            continue
        plain = value if isinstance(value, bool | int | float) else str(value)
        try:
            section, _, option = name.rpartition(".")
            conf.set_override(option, plain, section or None)
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
            wrong.append(f"{name}='{value}' (command line): unknown option")
        except ValueError as error:
            wrong.append(f"{name}='{value}' (command line): {_reason(error)}")
    return wrong


def _value(conf: Any, key: Key) -> Any:
    section, name = key
    value = conf[name] if section == "DEFAULT" else conf[section][name]
    if isinstance(by_key()[key], cfg.MultiOpt):
        return tuple(one for line in value for one in (line if isinstance(line, tuple) else [line]))
    return value


def _label(key: Key) -> str:
    section, name = key
    return name if section == "DEFAULT" else f"[{section}] {name}"


def _origin(given: Mapping[Key, list[tuple[Path, str]]], key: Key) -> str:
    """Return "='value' (file)" of the last value; "" if the files don't set it."""
    lines = [line for name in _names(key) for line in given.get(name, [])]
    if not lines:
        return ""
    file, text = lines[-1]
    shown = "***" if by_key()[key].secret else re.sub(r"//[^/\s]*@", "//***@", text)
    return f"='{shown}' ({file})"


def _reason(error: Exception) -> str:
    """Return the text after oslo.config's preamble, without its full stop."""
    words = str(error).rpartition("is not valid: ")[2].strip().rstrip(".")
    return words[:1].lower() + words[1:]


def _names(key: Key) -> list[Key]:
    """Return all (section, name) pairs of an option, with its deprecated ones."""
    old = by_key()[key].deprecated_opts
    return [key, *((d.group or key[0], d.name or key[1]) for d in old)]


def _ignored(given: Iterable[Key]) -> list[str]:
    """Return the labels of unknown options."""
    ours = {name for key in by_key() for name in _names(key)}
    return [
        _label(key) + (f" ({NOVA_ONLY[key[1]]})" if key[1] in NOVA_ONLY else "")
        for key in sorted(set(given) - ours)
        if key[0] not in PASSED_ON
    ]
