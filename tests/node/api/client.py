"""A client for the tests: sends requests to an Api, and reads answers as strictly as typed clients do."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from node.api.access import Access
from node.api.api import Api
from node.api.call import Operations
from node.api.http import Request, Response
from node.api.sockets import SocketRoutes
from node.auth.ring import ClusterKeys, derive_keys
from protocol.seal import Keyring
from tests.fakes.replica import FakeReplica

BASE = "http://h1:8080"
KEYS = derive_keys(Keyring(bytes(range(32))))


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its JSON body, any object."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> list[Any]:
        """The rows of a collection."""
        assert self.status == 200, self.body
        assert self.body["type"] == "collection"
        return list(self.body["data"])


class Client:
    """Talks to one node's API in process."""

    def __init__(
        self,
        replica: FakeReplica,
        *,
        key: tuple[str, str] | None = None,
        token: str | None = None,
        is_local: bool = False,
        operations: Operations | None = None,
        keys: ClusterKeys | None = None,
        sockets: SocketRoutes | None = None,
    ) -> None:
        self.api = Api(
            replica,
            now_ms=replica.now_ms,
            rng=replica.rng,
            join_info=lambda: b'{"cluster_id":"x"}',
            operations=operations,
            access=Access(
                replica, (b"k" * 32,), now_ms=replica.now_ms, clock=lambda: replica.now / 1000, rng=replica.rng
            ),
            keys=keys or KEYS,
            sockets=sockets,
        )
        self.key = key
        self.token = token
        self.is_local = is_local

    async def raw(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        path, _, query = target.removeprefix(BASE).partition("?")
        sent = {"host": "h1:8080", **{name.lower(): value for name, value in (headers or {}).items()}}
        if self.key is not None:
            sent["authorization"] = "Basic " + base64.b64encode(":".join(self.key).encode()).decode()
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        return await self.api.handle(
            Request(method, path, query, tuple(sent.items()), body, client="192.0.2.9", is_local=self.is_local)
        )

    async def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        data = b"" if body is None else msgspec.json.encode(body)
        response = await self.raw(method, target, data, headers)
        return Answer(response.status, msgspec.json.decode(response.body), dict(response.headers))

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def post(self, target: str, body: Any = None) -> Answer:
        return await self.ask("POST", target, body)

    async def put(self, target: str, body: Any) -> Answer:
        return await self.ask("PUT", target, body)

    async def delete(self, target: str) -> Answer:
        return await self.ask("DELETE", target)

    async def make(self, target: str, body: Any) -> Any:
        """POST something that must succeed, and return it."""
        answer = await self.post(target, body)
        assert answer.status == 201, answer.body
        return answer.body


async def make_stack(client: Client, name: str = "nginx-app-stack") -> Any:
    return await client.make("/v1/environments", {"name": name})


async def make_service(client: Client, stack: Any, name: str = "web", **more: Any) -> Any:
    launch = {"imageUuid": "docker:nginx:1.8-alpine", **more.pop("launchConfig", {})}
    return await client.make(
        "/v1/services", {"name": name, "environmentId": stack["id"], "launchConfig": launch, **more}
    )
