"""The error shape of the v1 API and the codes that go with it (API.md 1.4)."""

import uuid

import msgspec

from node.api.http import Response

JSON = "application/json; charset=utf-8"

HTTP_CODES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method not allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

STATUS_OF_CODE = {
    **{code: status for status, code in HTTP_CODES.items()},
    "NotFound": 404,
    "InvalidBodyContent": 400,
    "UnsupportedVersion": 404,
    "ServiceUnavailable": 503,
}
"""Codes that do not mean 422, as nearly all validation codes do."""


class ApiError(Exception):
    """A request that is answered with an error.

    `detail` tells a person what was wrong and what to do; `field` names the input field of a validation error.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        field: str | None = None,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail
        self.field = field
        self.status = status or STATUS_OF_CODE.get(code, 422)
        self.headers = headers

    def response(self) -> Response:
        """Render the error, its keys in the order clients have always seen."""
        body: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "type": "error",
            "links": {},
            "actions": {},
            "status": self.status,
            "code": self.code,
            "message": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            body["fieldName"] = self.field
        return Response(self.status, msgspec.json.encode(body), (("Content-Type", JSON), *self.headers))


def http_error(status: int, detail: str | None = None, *, retry_after: int | None = None) -> Response:
    """Return the error response for an HTTP status."""
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return ApiError(HTTP_CODES.get(status, "Bad Request"), detail, status=status, headers=headers).response()
