"""Generates the command reference from the Typer application."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import typer

from superbench.cli.app import app


def page() -> str:
    """Returns a section for each command: what it does, its arguments, its options."""
    root = typer.main.get_command(app)
    head = "# Commands\n\nThis page is generated from the commands; `superbench COMMAND --help` prints the same text.\n"
    foot = "`--debug`, anywhere on the line, shows the traceback of an error.\n"
    return "\n".join([head, foot, *(_section(path, command) for path, command in walk(root, ()))])


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yields every command below a group with the words that call it, in the order of the group."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        child = command.get_command(click.Context(command), name)
        if child is not None:  # a hidden command handles words that name no other command of its group
            yield from walk(child, path if child.hidden else (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option" and parameter.name != "help"]
    usage = " ".join(["superbench", *path, *(_placeholder(argument) for argument in arguments)])
    parts = [
        f"## superbench {' '.join(path)}",
        _prose(command.help or ""),
        f"```text\n{usage}{' [OPTIONS]' * bool(options)}\n```",
    ]
    if arguments:
        rows = "".join(f"| {_cell(argument.name)} | {_text(argument)} |\n" for argument in arguments)
        parts.append(f"| argument | |\n|---|---|\n{rows}")
    if options:
        rows = "".join(f"| {_flags(option)} | {_text(option)} | {_default(option)} |\n" for option in options)
        parts.append(f"| option | | default |\n|---|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _placeholder(argument: click.Argument) -> str:
    name = (argument.name or "").upper() + "..." * (argument.nargs == -1)
    return name if argument.required else f"[{name}]"


def _flags(option: click.Option) -> str:
    metavar = "" if option.is_flag else f" {(option.name or '').upper()}"
    return ", ".join(_cell(f"{name}{metavar}") for name in [*option.opts, *option.secondary_opts])


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    value = option.default
    return "" if value is None or option.is_flag or callable(value) or "[default" in (option.help or "") else _cell(str(value))


def _text(parameter: click.Parameter) -> str:
    return _escaped(getattr(parameter, "help", "") or "").replace("\n", " ")


def _cell(text: str | None) -> str:
    return f"`{text or ''}`"


def _escaped(text: str) -> str:
    """Returns the text with placeholders and brackets escaped for Markdown; text between backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>\[\]*_|])", r"\\\1", part) for part in parts)


def _prose(text: str) -> str:
    """Returns the paragraphs of a docstring, with an example as a code block."""
    paragraphs = [" ".join(part.split()) for part in text.replace("\b", "").split("\n\n") if part.strip()]
    shown = []
    for paragraph in paragraphs:
        before, word, example = paragraph.partition("Example: ")
        if word and example.startswith("superbench"):
            shown += [_escaped(before.strip()), f"```text\n{example}\n```"]
        else:
            shown.append(_escaped(paragraph))
    return "\n\n".join(part for part in shown if part)
