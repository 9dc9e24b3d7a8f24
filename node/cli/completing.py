"""Names that a shell completes from the running cluster; silent about everything that goes wrong."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from node.cli.options import settings_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_names(noun: str) -> "Callable[[click.Context, click.Parameter, str], list[CompletionItem]]":
    """Return what completes an argument that names one of these."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        from node.cli.names import candidates_of, service_candidates
        from node.cli.session import Session

        session = Session(settings_of(ctx), os.environ)
        try:
            rows = session.list(noun)
            found = service_candidates(rows, session.list("stack")) if noun == "service" else candidates_of(rows)
        except Exception:
            # Whatever it is, a message in the middle of a line being typed helps nobody.
            return []
        finally:
            session.close()
        return [CompletionItem(each.names[0]) for each in found if each.names[0].startswith(incomplete)]

    return complete
