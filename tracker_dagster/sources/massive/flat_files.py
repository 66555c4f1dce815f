"""Massive's flat files: list, stat and fetch one day's file, verified byte for byte.

What the bytes mean is in ``flat_file_formats``.
"""

from __future__ import annotations

import gzip
import logging
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any

import tenacity
from pydantic import SecretStr

from tracker_dagster.sources.errors import (
    CursorLoopError,
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
    RateLimitedError,
    SourceError,
    TransientError,
    UnauthorizedError,
)
from tracker_dagster.sources.http import RetryPolicy, Timeout
from tracker_dagster.sources.massive.flat_file_formats import Dataset
from tracker_dagster.sources.messages import is_loopback

__all__ = ["Dataset", "FetchedFile", "FlatFiles", "RemoteFile"]

GZIP_MAGIC = b"\x1f\x8b"
UNAUTHORIZED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "ExpiredToken"}
)
SLOW_DOWN = frozenset({"SlowDown", "TooManyRequests", "Throttling", "RequestLimitExceeded"})
#: The vendor answers more downloads at once with 429.
MAX_PARALLEL = 8


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One published file, as the bucket describes it.

    Attributes:
        etag: changes when the vendor replaces the file; without quotes.
        size: compressed bytes.
        last_modified: UTC; says nothing of when the data could first be known.
    """

    day: date
    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file's identity and its decompressed content."""

    remote: RemoteFile
    csv: bytes


class FlatFiles:
    """Client of the flat-file bucket. Thread-safe.

    Args:
        endpoint_url: ``https://files.massive.com`` or a simulated market.
        key_id: S3 access key id (separate from the REST key).
        secret: S3 secret.
        timeout: seconds to connect and between reads.
        retry: how long to insist on a transient failure.
    """

    def __init__(
        self,
        endpoint_url: str,
        key_id: SecretStr,
        secret: SecretStr,
        bucket: str = "flatfiles",
        *,
        region: str = "us-east-1",
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.endpoint_url = endpoint_url.rstrip("/")
        self.bucket = bucket
        self._key_id = key_id
        self._secret = secret
        self._region = region
        self._timeout = timeout or Timeout()
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()

    def __repr__(self) -> str:
        return f"FlatFiles({self.bucket!r})"

    @staticmethod
    def key(dataset: Dataset, day: date) -> str:
        """The key of one day's file."""
        return f"{_month_prefix(dataset, day)}{day.isoformat()}.csv.gz"

    def list(self, dataset: Dataset, first: date, last: date) -> list[RemoteFile]:
        """The files published for the days from ``first`` to ``last``, ascending.

        Listing works even for what the plan does not include.

        Raises:
            UnauthorizedError: unknown key or wrong secret.
            TransientError: the bucket failed through all tries.
        """
        found: list[RemoteFile] = []
        month = first.replace(day=1)
        while month <= last:
            found.extend(f for f in self._listing(_month_prefix(dataset, month)))
            month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
        return sorted((f for f in found if first <= f.day <= last), key=lambda f: f.day)

    def stat(self, dataset: Dataset, day: date) -> RemoteFile:
        """One day's file as the bucket describes it now, without fetching it.

        Raises:
            NotFoundError: not published, or no session that day.
        """
        key = self.key(dataset, day)
        for remote in self._listing(key):
            if remote.key == key:
                return remote
        raise _absent(key)

    def fetch(self, dataset: Dataset, day: date) -> FetchedFile:
        """Download, verify and decompress one day's file.

        Raises:
            NotFoundError: not published, or no session that day.
            NotEntitledError: published, but outside the plan.
            MalformedResponseError: not gzip, cut, with a wrong checksum, or followed by
                garbage, on every try.
            TransientError: the bucket failed through all tries.
        """
        key = self.key(dataset, day)
        try:
            remote, packed = self._insist(lambda: self._download(day, key))
        except NotEntitledError as refused:
            failure = self._why_refused(dataset, day, refused)
        else:
            return FetchedFile(remote, gunzip(packed, key))
        raise failure

    def _why_refused(self, dataset: Dataset, day: date, refused: SourceError) -> SourceError:
        try:
            self.stat(dataset, day)
        except NotFoundError as absent:
            return absent
        return NotEntitledError(
            "the file is published, but the plan does not include it",
            status=403,
            code=refused.code,
            request_id=refused.request_id,
            url_path=refused.url_path,
        )

    @cached_property
    def _client(self) -> Any:
        # Imported here: boto3 costs a quarter of a second, and most processes fetch nothing.
        import boto3
        from botocore.config import Config

        # Its debug lines carry signed headers, which name the access key.
        logging.getLogger("botocore").setLevel(logging.INFO)
        config = Config(
            connect_timeout=self._timeout.connect,
            read_timeout=self._timeout.read,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=MAX_PARALLEL,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if is_loopback(self.endpoint_url) else None,
        )
        session = boto3.session.Session(
            aws_access_key_id=self._key_id.get_secret_value(),
            aws_secret_access_key=self._secret.get_secret_value(),
            region_name=self._region,
        )
        return session.client("s3", endpoint_url=self.endpoint_url, config=config)

    def _listing(self, prefix: str) -> Iterator[RemoteFile]:
        token: str | None = None
        seen: set[str] = set()
        while True:
            page = self._insist(partial(self._list_page, prefix, token))
            for entry in page.get("Contents", []):
                key = entry["Key"]
                match = re.fullmatch(r".*/(\d{4}-\d{2}-\d{2})\.csv\.gz", key)
                if match:
                    yield RemoteFile(
                        date.fromisoformat(match[1]),
                        key,
                        entry["Size"],
                        entry["ETag"].strip('"'),
                        entry["LastModified"],
                    )
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return
            if token in seen:
                raise CursorLoopError("the bucket repeats its continuation token", url_path=prefix)
            seen.add(token)

    def _list_page(self, prefix: str, token: str | None) -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        return self._call(
            prefix,
            lambda: self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **more),
        )

    def _download(self, day: date, key: str) -> tuple[RemoteFile, bytes]:
        def get() -> tuple[RemoteFile, bytes]:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            stated = answer.get("ContentLength")
            body = answer["Body"].read()
            if stated is None or len(body) != stated:
                raise TransientError(f"{len(body)} bytes came of {stated} announced", url_path=key)
            if not {"ETag", "LastModified"} <= answer.keys():
                # A proxy's page with status 200 has neither, and must not pass for a file.
                raise MalformedResponseError(
                    "expected a file, got an answer without an ETag", url_path=key
                )
            remote = RemoteFile(
                day, key, len(body), answer["ETag"].strip('"'), answer["LastModified"]
            )
            return remote, body

        return self._call(key, get)

    def _insist(self, attempt: Callable[[], Any]) -> Any:
        policy = self._retry

        def wait(state: tenacity.RetryCallState) -> float:
            return self._rng.uniform(
                0, min(policy.backoff_cap, policy.backoff * 2.0 ** (state.attempt_number - 1))
            )

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(policy.max_tries)
            | tenacity.stop_before_delay(policy.max_seconds),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )(attempt)

    def _call(self, path: str, action: Callable[[], Any]) -> Any:
        """Run one S3 call, with botocore's errors told in our words.

        They are raised outside the handler: botocore's frames hold the credentials.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        failure: SourceError
        try:
            return action()
        except ClientError as exc:
            failure = self._from_client_error(exc, path)
        except (BotoCoreError, HTTPError, OSError) as exc:
            failure = TransientError(f"the bucket failed: {type(exc).__name__}", url_path=path)
        raise failure

    def _from_client_error(self, exc: Any, path: str) -> SourceError:
        error = exc.response.get("Error", {})
        about = exc.response.get("ResponseMetadata", {})
        code, status = self._redact(str(error.get("Code", ""))), about.get("HTTPStatusCode")
        facts: dict[str, Any] = {
            "status": status,
            "code": code or None,
            "request_id": about.get("RequestId"),
            "url_path": path,
        }
        if code in UNAUTHORIZED or status == 401:
            return UnauthorizedError("the bucket does not know this key or secret", **facts)
        if status == 429 or code in SLOW_DOWN:
            return RateLimitedError("too many downloads at once", **facts)
        if status is None or status >= 500 or status == 499:
            return TransientError("the bucket failed", **facts)
        if status == 404 and code == "NoSuchBucket":
            return NotFoundError("no such bucket", **facts)
        if status == 404:
            return NotFoundError("not published, or no session that day", **facts)
        if status == 403:
            return NotEntitledError("access denied", **facts)
        return SourceError(f"the bucket refused: {code or status}", **facts)

    def _redact(self, text: str) -> str:
        for secret in (self._key_id.get_secret_value(), self._secret.get_secret_value()):
            text = text.replace(secret, "[key]") if secret else text
        return text


def gunzip(packed: bytes, name: str) -> bytes:
    """Decompress all members, each checked for checksum and length.

    Raises:
        MalformedResponseError: empty, not gzip, cut, damaged, or followed by garbage.
    """
    if not packed:
        raise MalformedResponseError("an empty file", url_path=name)
    if not packed.startswith(GZIP_MAGIC):
        kind = "an HTML or XML page" if packed.lstrip()[:1] == b"<" else "something else"
        raise MalformedResponseError(f"expected gzip, got {kind}", url_path=name)
    try:
        return gzip.decompress(packed)
    except EOFError:
        reason = "the gzip file is cut"
    except gzip.BadGzipFile as exc:
        reason = f"the gzip file is damaged: {exc}"
    except (zlib.error, OSError) as exc:
        reason = f"the gzip file is damaged: {exc}"
    raise MalformedResponseError(reason, url_path=name)


def _month_prefix(dataset: Dataset, day: date) -> str:
    return f"{dataset.prefix}/{day.year:04d}/{day.month:02d}/"


def _absent(key: str) -> NotFoundError:
    return NotFoundError("not published, or no session that day", status=404, url_path=key)
