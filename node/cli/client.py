"""Requests to the API: the one home of httpx.

Says in words what failed: no daemon, no such name, nobody listening, not ours, no key.  What a node cannot do for a
moment (503 with Retry-After) is asked again for a few seconds, unless the change may have happened all the same.
"""

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from node.cli.errors import CliError
from node.cli.reach import Target


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Have modules that nobody has imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# httpx imports its own command line with rich where it can, and httpcore the event loops: more than 100 ms for what we
# never call.  Both work without.
with _absent("rich", "pygments", "trio", "anyio"):
    import httpcore  # noqa: F401
    import httpx

Json = dict[str, Any]

TIMEOUT = 30.0
JOIN_TIMEOUT = 10.0
KNOCK_TIMEOUT = 5.0
RETRY_SECONDS = 8.0
"""For how long a node that asks us to come back is asked again."""
MAX_JOIN_INFO = 256 * 1024
_MAY_HAPPEN = "may still happen"
"""How a node says that a change was handed on and not confirmed: it must not be asked for twice."""
_NOT_OURS = "see that this is the URL of a Corral node's API, which has port 8080 unless chosen otherwise"


class ApiFailure(CliError):
    """The API answered with an error."""

    def __init__(self, status: int, code: str, detail: str | None, what: str, try_: str | None = None) -> None:
        super().__init__(what, detail or code, try_)
        self.status = status
        self.code = code


def tls_context(base: str) -> ssl.SSLContext:
    """Return what checks a server's certificate.

    Where there is no TLS, over http and the unix socket, an empty context that trusts nobody: reading the system's
    authorities costs 20 ms and more.
    """
    return ssl.create_default_context() if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Client:
    """One API."""

    def __init__(
        self,
        target: Target,
        *,
        note: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        if target.socket is not None:
            _knock(target.socket)
        self._note = note
        self._sleep = sleep
        self._clock = clock
        auth: httpx.Auth | None = None
        sent = {"User-Agent": "corral", "Accept": "application/json", "X-API-No-Challenge": "true"}
        if target.session is not None:
            sent["Authorization"] = f"Bearer {target.session}"
        elif target.access_key is not None or target.secret_key is not None:
            auth = httpx.BasicAuth(target.access_key or "", target.secret_key or "")
        self._http = httpx.Client(
            base_url=target.base,
            auth=auth,
            timeout=httpx.Timeout(TIMEOUT, connect=10.0),
            transport=httpx.HTTPTransport(verify=tls_context(target.base), uds=target.socket),
            headers=sent,
            follow_redirects=False,
            # Proxies are for the web; a node is reached directly, and a proxy would see the keys.
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **params: str) -> Json:
        """Read a resource or a collection."""
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Json:
        """Create, or with `?action=` act."""
        return self.ask("POST", path, body=body or {}, **more)

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        """Change fields."""
        return self.ask("PUT", path, body=body)

    def delete(self, path: str) -> Json:
        """Remove."""
        return self.ask("DELETE", path)

    def list(self, path: str, **params: str) -> list[Json]:
        """Return every resource of a collection."""
        return list(self._pages(path, {"limit": "-1", **params}))

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: float | None = None,
        is_patient: bool = True,
    ) -> Json:
        """Return the JSON object that answers; ApiFailure for an error."""
        content = None if body is None else json.dumps(body).encode()
        answer = self.send(method, path, content, params=params, timeout=timeout, is_patient=is_patient)
        found = _parse(answer, self.target)
        if answer.status_code >= 400:
            raise failure_of(answer.status_code, found, self.target)
        return found

    def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout: float | None = None,
        is_patient: bool = True,
    ) -> httpx.Response:
        """Return whatever answers, an error too."""
        give_up_at = self._clock() + (RETRY_SECONDS if is_patient else 0)
        while True:
            answer = self._send(method, path, content, params, timeout)
            pause = _retry_after(answer)
            if pause is None or self._clock() + pause > give_up_at:
                return answer
            self._note(f"the cluster cannot take this yet ({_detail(answer)}); asking again in {pause:.0f} s")
            self._sleep(pause)

    def _send(
        self, method: str, path: str, content: bytes | None, params: Mapping[str, str] | None, timeout: float | None
    ) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": "application/json"}
        span = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=10.0)
        try:
            return self._http.request(
                method, path, content=content, params=params or None, headers=headers, timeout=span
            )
        except httpx.HTTPError as error:
            raise unreachable(error, self.target) from None

    def _pages(self, path: str, params: Mapping[str, str]) -> Iterator[Json]:
        page = self.ask("GET", path, params=params)
        while True:
            yield from page.get("data") or []
            next_ = (page.get("pagination") or {}).get("next")
            if not next_:
                return
            page = self.ask("GET", next_)


def _parse(answer: httpx.Response, target: Target) -> Json:
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "type" not in found:
        why = f"the answer (status {answer.status_code}) is not of the v1 API"
        raise CliError(f"what answers at {target.place} is not a Corral node", why, _NOT_OURS)
    return found


def failure_of(status: int, found: Mapping[str, Any], target: Target) -> ApiFailure:
    """Put an error of the API in words."""
    code, detail = str(found.get("code") or status), found.get("detail")
    field = f" ({found['fieldName']})" if found.get("fieldName") else ""
    if status == 401 and target.session is not None:
        return ApiFailure(status, code, detail, f"the session at {target.place} is over", "log in: `node login`")
    if status == 401:
        what, try_ = (
            f"{target.place} wants a key",
            "give --access-key and --secret-key, or be root on a host of the cluster",
        )
        if target.access_key is not None:
            what = f"{target.place} does not accept this key"
            try_ = "make another with `node apikey create NAME` on a host of the cluster"
        return ApiFailure(status, code, detail, what, try_)
    if status == 503 and _MAY_HAPPEN in str(detail):
        try_ = "look whether it did before you ask again: `node status`, then the list of what you changed"
        return ApiFailure(status, code, detail, "the cluster did not confirm the change in time", try_)
    if status == 503:
        try_ = "see `node status`; what runs goes on, and changes work again once a leader is elected"
        return ApiFailure(status, code, detail, "the cluster cannot take a change now; nothing was changed", try_)
    return ApiFailure(status, code, detail, f"refused: {code}{field}")


def unreachable(error: httpx.HTTPError | httpx.InvalidURL, target: Target) -> CliError:
    """Say why there was no answer."""
    causes = list(_causes(error))
    if target.socket is not None:
        return _no_daemon(causes, error, target.socket)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        host = httpx.URL(target.base).host
        return CliError(f"cannot find {host}", "no such name in DNS", "check the name, or give the address instead")
    verification = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if verification is not None:
        why = f"its certificate is not trusted here: {verification.verify_message}"
        return CliError(f"{target.base} cannot be trusted", why, "add its authority to this machine's, or use http://")
    if isinstance(error, httpx.TimeoutException):
        advice = "check host and port, and the firewalls between"
        return CliError(f"{target.base} does not answer", "nothing came within the time allowed", advice)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        advice = "see `node status` on that host, and which port its API has (8080)"
        return CliError(f"cannot reach {target.base}", "nobody listens there", advice)
    if isinstance(error, httpx.ProtocolError) or any(isinstance(cause, ssl.SSLError) for cause in causes):
        return CliError(f"what answers at {target.base} is not a Corral node", str(error), _NOT_OURS)
    return CliError(f"cannot reach {target.base}", str(error) or type(error).__name__, "check host, port and network")


def _knock(path: str) -> None:
    """Refuse a socket that nobody listens on, by a connection of our own: httpcore leaks one that fails."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(KNOCK_TIMEOUT)
            connection.connect(path)
    except OSError as error:
        raise _no_daemon([error], error, path) from None


def _no_daemon(causes: list[BaseException], error: Exception, path: str) -> CliError:
    if any(isinstance(cause, PermissionError) for cause in causes):
        return CliError("only root may use this host's socket", path, "use sudo, or give --url with a key")
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        why = f"nobody listens on {path}"
        return CliError("no node runs on this host", why, "start it: `node start`, or give --url of another node")
    return CliError("this host's node does not answer", str(error) or type(error).__name__, "see its log")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        each = queue.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        queue += [each.__cause__, each.__context__]


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    if answer.status_code != 503 or not text.isdigit() or _MAY_HAPPEN in _detail(answer):
        return None
    return max(1.0, float(text))


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail") or "no reason given")
    except (ValueError, AttributeError):
        return "no reason given"


def fetch_join_info(base: str) -> bytes:
    """Return what a node says to a host that wants to join, bounded in time and size."""
    target = Target(base)
    body = bytearray()
    try:
        with (
            httpx.Client(verify=tls_context(base), timeout=JOIN_TIMEOUT, trust_env=False) as http,
            http.stream("GET", f"{base}/v1/join") as answer,
        ):
            give_up_at = time.monotonic() + JOIN_TIMEOUT
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > MAX_JOIN_INFO or time.monotonic() > give_up_at:
                    raise CliError(
                        f"what answers at {base} is not a Corral node", "it does not stop talking", _NOT_OURS
                    )
    except httpx.HTTPError as error:
        raise unreachable(error, target) from None
    if answer.status_code != 200 or not body.lstrip().startswith(b"{"):
        why = f"/v1/join answers {answer.status_code} there"
        raise CliError(f"what answers at {base} is not a Corral node", why, _NOT_OURS)
    return bytes(body)
