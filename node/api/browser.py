"""What is different when a browser asks: it gets pages instead of JSON, and its changes need proof of intent.

Pure.  A browser sends along cookies and remembered passwords on behalf of any page it shows, so a change that comes
from one must carry the CSRF cookie's value in a header, which only our own pages can do.  Rules: API.md 1.1.
"""

import hmac
import re
from collections.abc import Sequence
from random import Random

from node.api.call import Urls
from node.api.errors import ApiError
from node.api.http import Request

COOKIE = "CSRF"
COOKIE_BITS = 80

_COOKIE_VALUE = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")


def is_browser(request: Request) -> bool:
    """Whether the sender says that it is one."""
    return "mozilla" in (request.header("user-agent") or "").lower()


def wants_html(request: Request, params: Sequence[tuple[str, str]]) -> bool:
    """Whether to answer with a page: `_format` decides, else a browser that did not ask for JSON gets one."""
    asked = next((value.lower() for name, value in params if name == "_format"), None)
    if asked in ("json", "html"):
        return asked == "html"
    accept = (request.header("accept") or "*/*").lower()
    # Scripts in pages send `application/json, */*`; a person's browser never names JSON.
    return is_browser(request) and "json" not in accept and ("*/*" in accept or "html" in accept)


def check_intent(request: Request, method: str, urls: Urls) -> None:
    """Refuse a change that another site had a browser send (403 InvalidCSRFToken)."""
    if method == "GET" and request.method in ("GET", "HEAD"):
        return
    said, cookie = request.header("x-api-csrf"), cookie_of(request, COOKIE)
    if cookie is not None:
        if said is None or not hmac.compare_digest(said.encode(), cookie.encode()):
            raise ApiError("InvalidCSRFToken", "send the cookie CSRF's value as header X-API-CSRF", status=403)
    elif _is_from_elsewhere(request, urls):
        # Browsers keep cookies from requests that other sites make, so that such a one looks like a plain client's.
        raise ApiError("InvalidCSRFToken", "another site's page asked for this change", status=403)


def _is_from_elsewhere(request: Request, urls: Urls) -> bool:
    origin = request.header("origin")
    if origin is not None:
        # The host alone: a proxy that ends TLS need not say that it does.
        return origin.lower().partition("://")[2] != urls.base.lower().partition("://")[2]
    return (request.header("sec-fetch-site") or "none").lower() not in ("none", "same-origin")


def new_cookie(request: Request, urls: Urls, rng: Random) -> tuple[str, str] | None:
    """The header that gives a browser its CSRF cookie; None for others and for one that has it."""
    if not is_browser(request) or cookie_of(request, COOKIE) is not None:
        return None
    secure = "; Secure" if urls.base.startswith("https:") else ""
    # Our pages' script reads it, so it is not HttpOnly; it proves nothing but where a request was made.
    value = f"{rng.getrandbits(COOKIE_BITS):0{COOKIE_BITS // 4}X}"
    return "Set-Cookie", f"{COOKIE}={value}; Path=/; SameSite=Lax{secure}"


def cookie_of(request: Request, name: str) -> str | None:
    """Return a cookie's value, None where it is not sent or no value of ours."""
    for key, value in request.headers:
        if key != "cookie":
            continue
        for part in value.split(";"):
            have, _, text = part.strip().partition("=")
            if have == name:
                return text if _COOKIE_VALUE.match(text) else ""
    return None
