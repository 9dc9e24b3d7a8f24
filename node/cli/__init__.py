"""The command line: `node`, also called `corral`.  Says and asks; what is decided is the daemon's behind the API."""


def main() -> None:
    """Run what was typed and exit with its code."""
    try:
        from node.cli.root import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
