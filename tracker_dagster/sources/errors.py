"""What can go wrong at a vendor, as types. Nothing here knows how a request is made."""

from __future__ import annotations

from typing import ClassVar


class SourceError(Exception):
    """A vendor did not give what was asked for.

    Attributes:
        transient: whether asking again later may succeed; permanent errors need a person.
        status: HTTP status, when there was a response.
        code: the vendor's own word for the failure (``NOT_AUTHORIZED``, ``NoSuchKey``).
        request_id: the vendor's identifier of the request, for its support desk.
        url_path: path of the request, never its host or credentials.
    """

    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        url_path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.url_path = url_path

    def __str__(self) -> str:
        facts = {
            "HTTP": self.status,
            "code": self.code,
            "path": self.url_path,
            "request_id": self.request_id,
        }
        known = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        return f"{self.message} ({known})" if known else self.message


class TransientError(SourceError):
    """The vendor or the network failed, and kept failing through the retries."""

    transient: ClassVar[bool] = True


class RateLimitedError(TransientError):
    """HTTP 429: more calls than the plan allows.

    Attributes:
        retry_after: seconds the vendor asked us to wait, when it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = 429,
        code: str | None = None,
        request_id: str | None = None,
        url_path: str | None = None,
    ) -> None:
        super().__init__(
            message, status=status, code=code, request_id=request_id, url_path=url_path
        )
        self.retry_after = retry_after


class UnauthorizedError(SourceError):
    """The key is missing or unknown."""


class NotEntitledError(SourceError):
    """The key is good, but the plan does not include this data or this date."""


class NotFoundError(SourceError):
    """There is no such thing: no session, not published yet, or an unknown symbol."""


class BadRequestError(SourceError):
    """The vendor refused the request as malformed; asking again will not help."""


class MalformedResponseError(SourceError):
    """A success status with a body that is not what the vendor documents."""


class CursorLoopError(MalformedResponseError):
    """Pagination that came back to a page already read, or that never ends."""


class CaptureError(SourceError):
    """A raw capture on disk is damaged: a page is missing or its checksum differs."""
