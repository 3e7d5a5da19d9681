"""The page about the command line: commands, options, exit codes and environment variables, from the code.

Names and help are read from the commands themselves, types and defaults from the functions behind them. So nothing
depends on the terminal, on this machine, or on which version of typer renders the help.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from filters.environment import VARIABLES
from filters.errors import EXIT_CODES
from pipelines.commands.main import COMMANDS, app

_HEAD = """# Commands

What `assay COMMAND --help` says on the terminal. What is marked with … may be given more than once; an option
without a value is a switch. Where no default stands, the meaning says what holds, or nothing is assumed.
"""

_BEAM = "Also takes options of Beam's runners, `--log parts` and `--accelerator WORDS`: [clusters](clusters.md)."

_VALUES = {str: "text", int: "whole number", float: "number", Path: "path"}

#: From here on a largest number is what a database can hold, and tells a reader nothing.
_ENDLESS = 2**53


def commands_page() -> str:
    """Return the page of the command line."""
    lines = [_HEAD, *_table(("command", "what it does"), _overview())]
    lines += ["\n## Exit codes\n", *_table(("code", "meaning"), EXIT_CODES.items())]
    lines += ["\n## Environment variables\n", *_table(("variable", "meaning"), _variables())]
    for name, command in commands():
        lines += ["", *_section(name, command)]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the full name of each command and the command itself, groups before their own, as the help lists them."""
    yield from _walk("assay", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    if hasattr(command, "list_commands"):
        context = command.make_context(name, [], resilient_parsing=True)
        for child in command.list_commands(context):
            # as a call finds it: for the overview there are stubs of what is not imported yet
            yield from _walk(f"{name} {child}", command.resolve_command(context, [child])[1])


def _overview() -> Iterator[tuple[str, str]]:
    return ((f"[`assay {name}`](#assay-{name})", line) for name, (_, line) in COMMANDS.items())


def _variables() -> Iterator[tuple[str, str]]:
    return ((f"`{name}`", meaning) for name, meaning in VARIABLES.items())


def _section(name: str, command: Any) -> list[str]:
    """Return a command's heading, help and options; the depth of the heading is that of the command."""
    paragraphs = [_linked(" ".join(part.split())) for part in command.help.split("\n\n")]
    if command.context_settings.get("ignore_unknown_options"):
        paragraphs.append(_BEAM)
    lines = [f"{'#' * max(2, name.count(' ') + 1)} {name}\n", "\n\n".join(paragraphs)]
    if command.params:
        declared = inspect.signature(inspect.unwrap(command.callback), eval_str=True).parameters
        rows = (_row(parameter, declared[parameter.name]) for parameter in command.params)
        lines += ["", *_table(("", "value", "default", "meaning"), rows)]
    return lines


def _row(parameter: Any, declared: inspect.Parameter) -> tuple[str, str, str, str]:
    """Return names, value, default and meaning of one argument or option."""
    kind, info = get_args(declared.annotation)
    if parameter.param_type_name == "argument":
        names, metavar = f"`{info.metavar or parameter.name.upper()}`", None
    else:
        names, metavar = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)), info.metavar
    value = _value(_plain(kind), metavar, _bounds(info.min, info.max))
    if parameter.multiple or parameter.nargs == -1:
        value += " …"
    default = "required" if parameter.required else _default(declared.default)
    meaning = _linked(parameter.help) + (f" Or `{parameter.envvar}`." if parameter.envvar else "")
    return names, value, default, meaning


def _linked(text: str) -> str:
    """Make links of the pages that a text names."""
    return re.sub(r"docs/([\w-]+)\.md", r"[\1](\1.md)", text)


def _plain(kind: Any) -> Any:
    """Return `T` of `T | None`, `list[T]` and `list[T] | None`."""
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return get_args(kind)[0] if get_origin(kind) is list else kind


def _value(kind: Any, metavar: str | None, bounds: str) -> str:
    """Return what a parameter takes: its choices, or its type or word with bounds; nothing for a switch."""
    if kind is bool:
        return ""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if issubclass(kind, Enum):
        return " or ".join(f"`{choice.value}`" for choice in kind)
    named = f"`{metavar}`" if metavar else _VALUES[kind]
    return f"{named}, {bounds}" if bounds else named


def _bounds(low: float | None, high: float | None) -> str:
    if high is None or high > _ENDLESS:
        return "" if low is None else f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def _default(value: Any) -> str:
    return "" if value is None or value is False or value == "" else f"`{value}`"


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
