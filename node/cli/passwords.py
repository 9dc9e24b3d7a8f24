"""Passwords as a person types them: without echo, or from standard input; never from the command line.

What is read here goes into the body of one request and nowhere else.
"""

import sys

import click

from node.cli.errors import CliError

STDIN_HELP = "Read the password from a line of standard input."


def read_password(prompt: str, *, from_stdin: bool, is_new: bool = False) -> str:
    """Return a password; a new one is typed twice on a terminal."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)
    else:
        raise CliError("a password is needed and there is no terminal", None, "pipe it in, with --password-stdin")
    if not password:
        raise CliError("the password is empty", "nothing was asked of the cluster")
    return password


def read_login(login: str | None, prompt: str = "Login") -> str:
    """Return a login, asked for where it was not given."""
    if login is None:
        if not sys.stdin.isatty():
            raise CliError("a login is needed and there is no terminal", None, "give it on the command line")
        login = click.prompt(prompt, err=True)
    if not login or ":" in login:
        raise click.UsageError("a login is not empty and has no colon in it")
    return login
