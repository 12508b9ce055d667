"""``completions``: a script that has a shell complete the commands, options, words and paths.

Rules:

1. All that it knows is read from the parser, so it is never behind.
2. Where a path is wanted, the shell completes the names of files as it does elsewhere.
3. It is plain ASCII, with the line ends of Unix, whatever it is written to.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pyvhdmp.cli.argument_types import path
from pyvhdmp.cli.output import print_text
from pyvhdmp.cli.parser import Commands

__all__ = ["SHELLS", "add_to", "completions"]


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "completions",
        completions,
        "print what has a shell complete all this",
        "Print a script that has a shell complete commands, options and paths. For bash, put "
        "into ~/.bashrc: source <(pyvhdmp completions bash). For PowerShell, put into $PROFILE: "
        "pyvhdmp completions powershell | Out-String | Invoke-Expression.",
        "powershell | Out-String | Invoke-Expression",
        "source <(pyvhdmp completions bash)",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash or powershell")
    parser.set_defaults(commands=commands)


def completions(options: argparse.Namespace) -> int:
    """``completions SHELL``."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(newline="\n")
    if not options.quiet:
        commands = {name: _command(*known) for name, known in options.commands.known.items()}
        always = _command("", options.commands.parser).options
        print_text(SHELLS[options.shell](always, commands))
    return 0


class _Command(NamedTuple):
    """What can follow the name of a command.

    `options`: each spelling, and what it does. `values`: the words after an option that wants
    one; none where anything goes. `words`: in the other places. `paths`: the options that
    want a path, and "" if the other places do.
    """

    help: str
    options: dict[str, str]
    values: dict[str, tuple[str, ...]]
    words: tuple[str, ...]
    paths: frozenset[str]


def _command(help: str, parser: argparse.ArgumentParser) -> _Command:
    options: dict[str, str] = {}
    values: dict[str, tuple[str, ...]] = {}
    words: tuple[str, ...] = ()
    paths: set[str] = set()
    for action in parser._actions:
        spellings = action.option_strings or [""]
        if action.type is path:
            paths.update(spellings)
        if action.option_strings:
            options.update(dict.fromkeys(spellings, action.help or action.dest))
            if action.nargs != 0:
                values.update(dict.fromkeys(spellings, _words(action)))
        else:
            words += _words(action)
    return _Command(help, options, values, words, frozenset(paths))


def _words(action: argparse.Action) -> tuple[str, ...]:
    """Return the words that an argument can be, if it is one of a few."""
    if action.choices is not None:
        return tuple(map(str, action.choices))
    is_choice = isinstance(action.metavar, str) and "|" in action.metavar
    return tuple(str(action.metavar).split("|")) if is_choice else ()


# -- bash -------------------------------------------------------------------------------------

_BASH: Final = """\
# What bash completes for pyvhdmp. In ~/.bashrc: source <(pyvhdmp completions bash)
_pyvhdmp() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local words= options= files= command= i
    [[ $word == = ]] && word=
    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD-2]}
    for (( i = 1; i < COMP_CWORD; i++ )); do
        [[ ${COMP_WORDS[i]} != -* ]] && command=${COMP_WORDS[i]} && break
    done
    if [[ ! $command ]]; then
        words='@COMMANDS@' options='@ALWAYS@'
    else
        case $command:$before in
@CASES@
        esac
    fi
    [[ $word == -* ]] && words=$options files=
    mapfile -t COMPREPLY < <(
        compgen -W "$words" -- "$word"
        [[ $files ]] && compgen -f -- "$word"
    )
    [[ $files ]] && compopt -o filenames 2>/dev/null
    return 0
}
complete -F _pyvhdmp pyvhdmp pyvhdmp.exe
"""


def _bash(always: Mapping[str, str], commands: Mapping[str, _Command]) -> str:
    cases = []
    for name, command in commands.items():
        for option, words in command.values.items():
            is_path = option in command.paths
            cases.append(f"{name}:{option}) {_bash_words('words', words)}{_bash_files(is_path)};;")
        rest = _bash_words("options", command.options) + _bash_words("words", command.words)
        cases.append(f"{name}:*) {rest}{_bash_files('' in command.paths)};;")
    return _filled(
        _BASH,
        COMMANDS=" ".join(commands),
        ALWAYS=" ".join(always),
        CASES="\n".join(" " * 8 + case for case in cases),
    )


def _bash_words(name: str, words: Iterable[str]) -> str:
    return f"{name}='{' '.join(words)}' " if words else ""


def _bash_files(is_path: bool) -> str:
    return "files=yes " if is_path else ""


# -- PowerShell -------------------------------------------------------------------------------

_POWERSHELL: Final = """\
# What PowerShell completes for pyvhdmp. In $PROFILE:
# pyvhdmp completions powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'pyvhdmp', 'pyvhdmp.exe' -ScriptBlock {
    param($word, $line, $cursor)
    $names = [ordered]@{@NAMES@}
    $always = [ordered]@{@ALWAYS@}
    $commands = @{
@COMMANDS@
    }
    $before = @($line.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursor } |
        ForEach-Object { $_.Extent.Text })
    $name = $before | Select-Object -Skip 1 | Where-Object { $_ -notlike '-*' } |
        Select-Object -First 1
    if (-not $name) {
        $found = if ($word -like '-*') { $always } else { $names }
    } else {
        $command = $commands[$name]
        if (-not $command) { return }
        $found = if ($command.values.Contains($before[-1])) { $command.values[$before[-1]] }
            elseif ($word -like '-*') { $command.options }
            else { $command.words }
    }
    # Where nothing is found, PowerShell itself completes the names of files.
    $found.GetEnumerator() |
        Where-Object { $_.Key.StartsWith($word, [StringComparison]::OrdinalIgnoreCase) } |
        ForEach-Object {
            [System.Management.Automation.CompletionResult]::new(
                $_.Key, $_.Key, 'ParameterValue', $_.Value)
        }
}
"""


def _powershell(always: Mapping[str, str], commands: Mapping[str, _Command]) -> str:
    blocks = []
    for name, command in commands.items():
        values = [
            f"{_quoted(option)} = [ordered]@{{{_table(_as_they_are(words))}}}"
            for option, words in command.values.items()
        ]
        blocks += [
            f"{_quoted(name)} = @{{",
            f"    options = [ordered]@{{{_table(command.options)}}}",
            f"    values = @{{{'; '.join(values)}}}",
            f"    words = [ordered]@{{{_table(_as_they_are(command.words))}}}",
            "}",
        ]
    return _filled(
        _POWERSHELL,
        NAMES=_table({name: command.help for name, command in commands.items()}),
        ALWAYS=_table(always),
        COMMANDS="\n".join(" " * 8 + line for line in blocks),
    )


def _as_they_are(words: Iterable[str]) -> dict[str, str]:
    return {word: word for word in words}


def _table(words: Mapping[str, str]) -> str:
    return "; ".join(f"{_quoted(word)} = {_quoted(help)}" for word, help in words.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- Both -------------------------------------------------------------------------------------


def _filled(script: str, **parts: str) -> str:
    for name, part in parts.items():
        script = script.replace(f"@{name}@", part)
    return script.rstrip("\n")


SHELLS: Final = {"bash": _bash, "powershell": _powershell}
"""What makes the script for a shell."""
