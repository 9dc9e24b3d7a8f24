"""One command's conversation with the API: where, as whom, in which environment, and how results are printed.

Everything is looked up when it is first needed, so that help and bad usage cost no request.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from node.cli import contexts
from node.cli.errors import CliError
from node.cli.names import GONE, Candidate, candidates_of, pick, service_candidates
from node.cli.options import Settings, settings
from node.cli.output import Printer, parse_filters
from node.cli.reach import Target, pick_target

if TYPE_CHECKING:
    from node.cli.client import Client

P = ParamSpec("P")
T = TypeVar("T")
Json = dict[str, Any]

PLURALS = {
    "stack": "environments",
    "service": "services",
    "container": "containers",
    "host": "hosts",
    "apikey": "apikeys",
    "token": "registrationtokens",
}
"""What a person calls it, and what the API does."""
CLUSTER = "/v1/clusters/cluster"


def own_member(cluster: Json) -> Json:
    """Return the member that gave the answer, as far as it knows itself."""
    members = cluster.get("members") or ()
    return next((dict(each) for each in members if each["nodeId"] == cluster.get("nodeId")), {})


def open_alarms(cluster: Json) -> tuple[str, ...]:
    """Return what to warn of wherever a cluster is shown, as long as nobody has to prove who they are."""
    is_open = cluster.get("accessControl") == "open"
    return ("ACCESS CONTROL IS OFF: whoever reaches the API administers this cluster",) if is_open else ()


def is_coloured(file: Any, *, no_color: bool, variables: Mapping[str, str]) -> bool:
    """Whether output may have colours."""
    return not no_color and not variables.get("NO_COLOR") and variables.get("TERM") != "dumb" and bool(file.isatty())


class Session:
    """What a command that talks to the API works with."""

    def __init__(self, chosen: Settings, variables: Mapping[str, str]) -> None:
        self.settings = chosen
        self.variables = variables

    @cached_property
    def saved(self) -> contexts.Saved:
        """The saved contexts."""
        return contexts.load(contexts.config_file(self.variables))

    @cached_property
    def target(self) -> Target:
        """The API to talk to."""
        return pick_target(self.settings, self.variables, self.saved)

    @property
    def context(self) -> contexts.Context:
        """The saved context that the target comes from."""
        found = next((each for each in self.saved.contexts if self.target.why == f"context {each.name}"), None)
        if found is None:
            why = f"{self.target.place} comes from {self.target.why}, not from a saved context"
            try_ = "save it with `node ctx add NAME --url URL`, and choose it with --context or `node ctx use`"
            raise CliError("a session is kept with a context", why, try_)
        return found

    @cached_property
    def client(self) -> "Client":
        """The connection to it."""
        from node.cli.client import Client

        return Client(self.target, note=self.note)

    @cached_property
    def printer(self) -> Printer:
        """How results are printed."""
        chosen = self.settings
        colour = is_coloured(sys.stdout, no_color=chosen.no_color, variables=self.variables)
        filters = parse_filters(chosen.filters)
        return Printer(chosen.json, chosen.quiet, chosen.template, filters, not chosen.no_trunc, colour)

    @cached_property
    def environment(self) -> Json:
        """The environment to work in: the one that was named, else this host's, else the only one."""
        rows = [row for row in self.client.list("/v1/projects", all="true") if row.get("state") not in GONE]
        if self.target.environment is not None:
            return pick(candidates_of(rows), self.target.environment, "environment").row
        if self.target.socket is not None and (own := self._own_environment()) is not None:
            rows = [row for row in rows if row["id"] == own] or rows
        if len(rows) == 1:
            return rows[0]
        if default := [row for row in rows if row["id"] == "1a5"]:
            return default[0]
        names = ", ".join(str(row.get("name")) for row in rows) or "none that you may see"
        raise CliError("no environment was named", f"there are: {names}", "name one with --environment")

    def _own_environment(self) -> str | None:
        host = own_member(self.client.get(CLUSTER)).get("hostId")
        return None if host is None else str(self.client.get(f"/v1/hosts/{host}")["accountId"])

    @cached_property
    def scope(self) -> str:
        """The path under which the environment's resources are."""
        return f"/v1/projects/{self.environment['id']}"

    @property
    def where(self) -> str:
        """Return the environment as messages name it."""
        return f" in environment {self.environment.get('name') or self.environment['id']}"

    def path(self, noun: str, identity: str | None = None) -> str:
        """Return the path of a collection or of a resource in it."""
        root = f"{self.scope}/{PLURALS[noun]}"
        return root if identity is None else f"{root}/{identity}"

    def list(self, noun: str, **params: str) -> list[Json]:
        """Return the rows of the environment, those removed a moment ago left out."""
        rows = self.client.list(self.path(noun), **params)
        return [row for row in rows if row.get("state") not in GONE]

    def find(self, noun: str, text: str) -> Candidate:
        """Return the row that a person means."""
        rows = self.list(noun)
        found = service_candidates(rows, self.list("stack")) if noun == "service" else candidates_of(rows)
        return pick(found, text, noun, self.where)

    def act(self, noun: str, identity: str, action: str, body: Mapping[str, Any] | None = None) -> Json:
        """Ask for an action of a resource."""
        return self.client.post(f"{self.path(noun, identity)}/?action={action}", body)

    def close(self) -> None:
        """Close the connection, if there ever was one."""
        if "client" in self.__dict__:
            self.client.close()

    def note(self, text: str) -> None:
        """Tell a person something beside the result."""
        click.echo(text, err=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be taken back; without a terminal only --yes will do."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise CliError("this needs a confirmation and there is no terminal", question, "say --yes")
        if not click.confirm(question, err=True):
            raise CliError("nothing was done")


def pass_session(func: Callable[Concatenate[Session, P], T]) -> Callable[P, T]:
    """Give a command its session as first argument."""

    @functools.wraps(func)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        session = Session(settings(), os.environ)
        try:
            return func(session, *args, **kwargs)
        finally:
            session.close()

    return run
