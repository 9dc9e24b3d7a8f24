"""The command line: `node`, also called `corral`.  Says and asks; what is decided is the daemon's behind the API."""

import sys


def main() -> None:
    """Run what was typed and exit with its code."""
    try:
        from node.cli.root import run
    except KeyboardInterrupt:
        # The words and the code are those of node.cli.errors, which may not be there yet.
        sys.stderr.write("interrupted: nothing was asked of the cluster\n")
        raise SystemExit(130) from None
    run()
