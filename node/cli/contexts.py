"""Saved contexts: clusters to talk to, by name, in a file that only its owner reads.

`$XDG_CONFIG_HOME/corral/config.json`, 0600; it holds secret keys and sessions, so a file others can read is refused.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from node.cli.errors import CliError


@dataclass(frozen=True, slots=True)
class Context:
    """One cluster's API, and a key or a session for it."""

    name: str
    url: str
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    environment: str | None = None
    session: str | None = field(default=None, repr=False)
    """What `login` was given; it counts before the key."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The whole file."""

    contexts: tuple[Context, ...] = ()
    current: str | None = None
    local_environment: str | None = None
    """The environment for the local socket, when no context is chosen."""

    def put(self, context: Context) -> "Saved":
        """Return the file with a context added or replaced."""
        others = tuple(each for each in self.contexts if each.name != context.name)
        return replace(self, contexts=(*others, context))


def config_file(variables: Mapping[str, str]) -> Path:
    """Return where contexts are kept."""
    home = variables.get("XDG_CONFIG_HOME") or os.path.join(variables.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(home) / "corral" / "config.json"


def load(path: Path) -> Saved:
    """Read the file; one that is missing holds nothing."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return Saved()
    if mode & 0o077:
        raise CliError(
            f"{path} can be read by others", f"it holds keys, and its mode is {mode:04o}", f"chmod 600 {path}"
        )
    try:
        return _parse(json.loads(content))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CliError(f"{path} is no file of contexts", str(error), "mend it, or move it away") from None


def _parse(found: Any) -> Saved:
    contexts = tuple(Context(name=name, **fields) for name, fields in found["contexts"].items())
    return Saved(contexts, found.get("current"), found.get("local_environment"))


def save(path: Path, saved: Saved) -> None:
    """Replace the file: afterwards it is the old one or the new one, its owner's only."""
    contexts = {
        context.name: {
            key: value for key, value in asdict(context).items() if key != "name" and (key, value) != ("session", None)
        }
        for context in saved.contexts
    }
    text = json.dumps(
        {"contexts": contexts, "current": saved.current, "local_environment": saved.local_environment}, indent=2
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    temporary.replace(path)
