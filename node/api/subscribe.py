"""`GET /v1/subscribe`: follows what changes, as the UI and the CLI do (API.md section 7).

`eventNames` may be given several times, hold commas, and end in filters after a semicolon, which nothing here needs.
A name that is not `resource.change` is one of the events between the parts of a Rancher server: it is taken, and never
comes.
"""

import trio

from node.api.call import Call
from node.api.feed import Feed, Subscriber
from node.api.listing import Params
from node.api.sockets import Serve
from node.api.websocket import TRY_AGAIN, Socket

PING_EVERY = 5.0
PING = '{"name":"ping"}'
CHANGE = "resource.change"
POLICY = 1008


def event_names(params: Params) -> frozenset[str]:
    """Return the names of the events that a query asks for."""
    given = (value for name, value in params if name.lower() == "eventnames")
    names = (one.partition(";")[0].strip() for value in given for one in value.split(","))
    return frozenset(name for name in names if name)


def subscribing(feed: Feed) -> Serve:
    """Return who talks on the sockets of a node's subscribers."""

    async def serve(call: Call, socket: Socket, params: Params) -> None:
        names = event_names(params)
        if not names:
            await socket.close(POLICY, f"say what to follow: eventNames={CHANGE}")
            return
        subscriber = Subscriber(call, tuple(sorted({value for name, value in params if name == "include"})))
        if CHANGE in names:
            feed.add(subscriber)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with_peer, socket, nursery.cancel_scope)
                await _send_news(subscriber, socket)
                nursery.cancel_scope.cancel()
        finally:
            feed.discard(subscriber)

    return serve


async def _end_with_peer(socket: Socket, scope: trio.CancelScope) -> None:
    await socket.drain()
    scope.cancel()


async def _send_news(subscriber: Subscriber, socket: Socket) -> None:
    """Send what comes, and a ping as often as clients count on; returns once the subscriber was let go."""
    ping_at = trio.current_time() + PING_EVERY
    while True:
        with trio.move_on_at(ping_at):
            await subscriber.wait_news()
        for frame in subscriber.take():
            if subscriber.lost is not None or subscriber.is_behind:
                break
            await socket.send_text(frame)
        if subscriber.lost is not None:
            await socket.close(POLICY, subscriber.lost)
            return
        if subscriber.is_behind:
            await socket.close(TRY_AGAIN, "too far behind; list again what you follow, then subscribe")
            return
        if trio.current_time() >= ping_at:
            await socket.send_text(PING)
            ping_at = trio.current_time() + PING_EVERY
