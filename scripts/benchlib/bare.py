"""Our HTTP server with a handler that does nothing, as a process: what is left is the server itself."""

import sys

import trio

from node.api.http import Request, Response
from node.api.listeners import open_tcp_listeners
from node.api.server import serve


async def main(address: str, port: int, size: int) -> None:
    """Answer everything with `size` bytes until killed."""
    response = Response(200, b"x" * size, (("Content-Type", "application/json; charset=utf-8"),))

    async def answer(request: Request) -> Response:
        return response

    await serve(answer, await open_tcp_listeners(address, port))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
