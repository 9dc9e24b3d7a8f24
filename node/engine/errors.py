"""What a failed call to Docker means to us: from the client's exceptions to an EngineError with a code.

The codes follow the status and, where the API gives several causes one status, the words of the engine's message
(Docker Engine API 1.24 to 1.47).
"""

import http.client

import docker.errors
import requests.exceptions
import urllib3.exceptions

from node.ports import EngineError, EngineErrorCode

_WORDS: tuple[tuple[str, EngineErrorCode], ...] = (
    ("port is already allocated", "port-taken"),
    ("bind: address already in use", "port-taken"),
    ("address already in use", "address-taken"),
    ("is already in use by container", "name-taken"),
    ("no such image", "image-missing"),
    ("pull access denied", "image-missing"),
    ("manifest unknown", "image-missing"),
    ("not found: manifest", "image-missing"),
    ("no basic auth credentials", "image-missing"),
)

_AWAY = (
    requests.exceptions.RequestException,
    docker.errors.DockerException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
_OURS = (
    docker.errors.InvalidArgument,
    docker.errors.InvalidRepository,
    docker.errors.InvalidVersion,
    docker.errors.NullResource,
)
"""What the client library refuses before it asks the engine."""


def engine_error(error: Exception) -> EngineError:
    """Return the EngineError for an exception of the client library."""
    if isinstance(error, docker.errors.ImageNotFound):
        return EngineError("image-missing", _explain(error))
    if isinstance(error, docker.errors.APIError):
        return EngineError(_code_of(error), _explain(error))
    if isinstance(error, _OURS):
        return EngineError("invalid", f"Docker cannot be asked for this: {str(error)[:1000] or type(error).__name__}")
    if isinstance(error, _AWAY):
        return EngineError(
            "unavailable", f"Docker does not answer ({_cause(error)}): is it running? `systemctl status docker`"
        )
    return EngineError("failed", f"Docker's client failed: {error!r}"[:1000])


def code_of_words(text: str) -> EngineErrorCode | None:
    """Return what a message of the engine is about, None when no known words are in it."""
    lowered = text.lower()
    return next((code for words, code in _WORDS if words in lowered), None)


def _code_of(error: docker.errors.APIError) -> EngineErrorCode:
    if (code := code_of_words(_explain(error))) is not None:
        return code
    match error.status_code:
        case 404:
            return "not-found"
        case 400:
            return "invalid"
        case _:
            return "failed"


def _explain(error: docker.errors.APIError) -> str:
    return str(error.explanation or error).strip()[:1000]


def _cause(error: BaseException) -> str:
    """Return the innermost reason: the client wraps `connection refused` several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)[:200] or type(error).__name__
