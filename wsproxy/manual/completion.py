"""C{wsproxy completion}: what bash and zsh need to complete C{wsproxy} and C{websockify}.

::

    source <(wsproxy completion bash)
    wsproxy completion zsh >"${fpath[1]}/_wsproxy"
"""

from __future__ import annotations

import re
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from typing import Any

from wsproxy.manual.entry import FILES, FOLDERS, SESSIONS, Entry, ofCommands, ofWebsockify, ofWsproxy

__all__ = ["describe", "forBash", "forZsh", "run"]

_EPILOG = """\
For this shell, and for good:

    source <(wsproxy completion bash)
    wsproxy completion bash >~/.local/share/bash-completion/completions/wsproxy
    wsproxy completion zsh >"${fpath[1]}/_wsproxy"
"""


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = commands.add_parser(
        "completion",
        help="Print what a shell needs to complete these command lines.",
        description="Print what bash or zsh needs to complete wsproxy and websockify.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("shell", choices=("bash", "zsh"), help="which shell")


def run(options: Namespace) -> str:
    """@return: what is to be printed."""
    return forBash() if options.shell == "bash" else forZsh()


def _flat(sections: Iterable[tuple[str, list[Entry]]]) -> list[Entry]:
    return [entry for _, entries in sections for entry in entries]


def _options(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.names[0].startswith("-")]


def _commands() -> list[tuple[str, str, list[Entry]]]:
    return list(ofCommands())


# bash

_BASH = """\
_{name}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    # bash makes three words of --name=value
    if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    COMPREPLY=()
{body}
}}
complete -F _{name} {name}
"""


_IDS = "wsproxy sessions --ids 2>/dev/null"
"""Where there is no proxy, or it is not for whoever asks, nothing is offered."""

_FILES = 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))'


def forBash() -> str:
    """@return: a script to be sourced."""
    commands = _commands()
    first = [
        "    if [[ $COMP_CWORD -eq 1 && $word != -* ]]; then",
        f'        COMPREPLY=($(compgen -W {_quoted(["serve", *(name for name, _, _ in commands)])} -- "$word"))',
        "        return",
        "    fi",
        "    case ${COMP_WORDS[1]} in",
    ]
    for name, _, entries in commands:
        first += [f"    {name})", *_bashCase(_options(entries), _bashPlain(entries)), "        return;;"]
    body = "\n".join([*first, "    esac", *_bashCase(_flat(ofWsproxy()))])
    return _BASH.format(name="wsproxy", body=body) + _BASH.format(
        name="websockify", body="\n".join(_bashCase(_flat(ofWebsockify())))
    )


def _bashPlain(entries: Iterable[Entry]) -> str:
    """What is offered where no option is."""
    plain = [entry for entry in entries if not entry.names[0].startswith("-")]
    if any(entry.completes == SESSIONS for entry in plain):
        return f'COMPREPLY=($(compgen -W "$({_IDS})" -- "$word"))'
    words = [word for entry in plain for word in entry.choices]
    return f'COMPREPLY=($(compgen -W {_quoted(words)} -- "$word"))' if words else _FILES


def _bashCase(entries: Sequence[Entry], others: str = _FILES) -> list[str]:
    """@param others: what is offered where no option is."""
    lines = ["    case $before in"]
    for names, completion in _byCompletion(entries):
        lines.append(f"    {'|'.join(names)}) {completion};;")
    every = [name for entry in entries for name in entry.names if name.startswith("--")]
    offered = f'COMPREPLY=($(compgen -W {_quoted(every)} -- "$word"))'
    return [*lines, f"    *) if [[ $word == -* ]]; then {offered}; else {others}; fi;;", "    esac"]


def _byCompletion(entries: Iterable[Entry]) -> Iterable[tuple[list[str], str]]:
    """Options with a value, by what is offered for it."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.placeholder:
            found.setdefault(_bashValue(entry), []).extend(entry.names)
    return [(names, completion) for completion, names in found.items()]


def _bashValue(entry: Entry) -> str:
    if entry.choices:
        return f'COMPREPLY=($(compgen -W {_quoted(entry.choices)} -- "$word"))'
    if entry.completes:
        letter = "f" if entry.completes == FILES else "d"
        return f'compopt -o filenames; COMPREPLY=($(compgen -{letter} -- "$word"))'
    return ":"


def _quoted(words: Iterable[str]) -> str:
    return "'" + " ".join(words).replace("'", "'\\''") + "'"


# zsh

_ZSH = """\
#compdef wsproxy websockify

_wsproxy_serve() {{
    _arguments -s -S '1:LISTEN:_hosts' '2:TARGET:_hosts' \\
{serve}
}}

{functions}_wsproxy() {{
    local -a commands
    commands=({commands})
    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe command commands
        return
    fi
    case $words[2] in
    (serve) shift words; (( CURRENT-- )); _wsproxy_serve;;
{cases}
    (*) _wsproxy_serve;;
    esac
}}

_websockify() {{
    _arguments -s -S '1:PLACE:_hosts' '2:TARGET:_hosts' \\
{websockify}
}}

if [[ $funcstack[1] == _wsproxy ]]; then
    _$service "$@"
else
    compdef _wsproxy wsproxy
    compdef _websockify websockify
fi
"""


def forZsh() -> str:
    """@return: a file for C{fpath}, which may be sourced as well."""
    commands = _commands()
    functions = "".join(
        f"_wsproxy_{name}() {{\n    shift words; (( CURRENT-- ))\n    _arguments -s -S \\\n{_zshLines(entries)}\n}}\n\n"
        for name, _, entries in commands
    )
    described = [_zshQuoted(f"{name}:{line}") for name, line in [("serve", "Run a proxy."), *_named(commands)]]
    cases = "\n".join(f"    ({name}) _wsproxy_{name};;" for name, _, _ in commands)
    return _ZSH.format(
        serve=_zshLines(_flat(ofWsproxy())),
        functions=functions,
        commands=" ".join(described),
        cases=cases,
        websockify=_zshLines(_flat(ofWebsockify())),
    )


def _named(commands: Iterable[tuple[str, str, list[Entry]]]) -> list[tuple[str, str]]:
    return [(name, line) for name, line, _ in commands]


def _zshLines(entries: Iterable[Entry]) -> str:
    return " \\\n".join(f"        {_zshQuoted(spec)}" for entry in entries for spec in _zshSpecs(entry))


def _zshSpecs(entry: Entry) -> list[str]:
    """What _arguments takes, for each name of the option; the others are offered no more once one is there."""
    if not entry.names[0].startswith("-"):
        if entry.completes == SESSIONS:
            return [f'1:{entry.names[0]}:{{compadd ${{(f)"$({_IDS})"}}}}']
        return [f"1:{entry.names[0]}:({' '.join(entry.choices)})"]
    text = re.sub(r"([\[\]:\\])", r"\\\1", entry.help.partition(". ")[0])
    value = f":{re.sub(r'[:]', ' ', entry.placeholder)}:{_zshValue(entry)}" if entry.placeholder else ""
    others = "*" if entry.repeatable else f"({' '.join(entry.names)})"
    return [
        f"{others}{name}{'=' if value and name.startswith('--') else '+' if value else ''}[{text}]{value}"
        for name in entry.names
    ]


def _zshValue(entry: Entry) -> str:
    if entry.choices:
        return f"({' '.join(entry.choices)})"
    return {FILES: "_files", FOLDERS: "_files -/"}.get(entry.completes, " ")


def _zshQuoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
