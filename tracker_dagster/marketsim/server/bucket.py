"""The flat files as an S3 bucket: list, head, get, ranges, publication clock, file faults."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5
from types import MappingProxyType
from xml.sax.saxutils import escape

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tracker_dagster.marketsim.server.faults import Fault
from tracker_dagster.marketsim.server.gzip_members import gzip_exact
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world.day_files import HISTORY_STARTS, DayFiles, previous_file_day
from tracker_dagster.marketsim.world.world import Cache, file_days
from tracker_dagster.trading_calendar import EASTERN, day_file_available_at, is_session

BUCKET = "flatfiles"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_KEY = re.compile(r"^(\w+/\w+)/(\d{4})/(\d{2})/(\d{4}-\d{2}-\d{2})\.csv\.gz$")
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")

#: Object sizes in bytes, so that a listing needs no content (see ``gzip_exact``).
_SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "small": MappingProxyType(
            {
                "us_stocks_sip/day_aggs_v1": 8_000,
                "us_stocks_sip/minute_aggs_v1": 1_500_000,
                "us_options_opra/day_aggs_v1": 400_000,
                "us_options_opra/minute_aggs_v1": 2_500_000,
                "us_indices/day_aggs_v1": 600,
                "us_indices/minute_aggs_v1": 80_000,
            }
        ),
        "full": MappingProxyType(
            {
                "us_stocks_sip/day_aggs_v1": 700_000,
                "us_stocks_sip/minute_aggs_v1": 2_500_000,
                "us_options_opra/day_aggs_v1": 5_500_000,
                "us_options_opra/minute_aggs_v1": 2_500_000,
                "us_indices/day_aggs_v1": 600,
                "us_indices/minute_aggs_v1": 80_000,
            }
        ),
    }
)


class S3Error(Exception):
    """An S3 error answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class FileObject:
    """One published file: where it lies and which edition it is."""

    key: str
    dataset: str
    day: date
    modified: datetime
    version: int
    faults: tuple[Fault, ...]

    @property
    def spoiled(self) -> bool:
        """Whether a fault other than a replacement changes its bytes."""
        return any(fault.kind != "replaced" for fault in self.faults)


class Bucket:
    """The ``flatfiles`` bucket of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self._bodies = Cache(24)

    # --- objects --------------------------------------------------------------------------

    def find(self, key: str) -> FileObject | None:
        """The published object of ``key``, or None."""
        match = _KEY.match(key)
        if match is None or match[1] not in self.sim.files.datasets:
            return None
        try:
            day = date.fromisoformat(match[4])
        except ValueError:
            return None
        if (match[2], match[3]) != (f"{day:%Y}", f"{day:%m}"):
            return None
        family = match[1].partition("/")[0]
        exists = is_session(day) or (family == "us_indices" and day.weekday() < 5)
        if not exists or day < HISTORY_STARTS[family]:
            return None
        found = self._object(match[1], day)
        hidden = any(fault.kind == "missing_file" for fault in found.faults)
        return found if not hidden and found.modified <= self.sim.clock.now() else None

    def _object(self, dataset: str, day: date) -> FileObject:
        key = f"{dataset}/{day:%Y}/{day:%m}/{day}.csv.gz"
        faults = self.sim.faults.standing(f"/{BUCKET}/{key}")
        version = sum(int(f.options.get("version", 1)) for f in faults if f.kind == "replaced")
        modified = day_file_available_at(day)
        if version:
            rewritten = modified + timedelta(hours=26 * version)
            modified = min(rewritten, max(self.sim.clock.now(), modified))
        return FileObject(key, dataset, day, modified, version, faults)

    def keys(self, prefix: str) -> Iterable[FileObject]:
        """Published objects whose key starts with ``prefix``, in key order."""
        today = self.sim.clock.now().astimezone(EASTERN).date()
        for dataset in self.sim.files.datasets:
            root = f"{dataset}/"
            if not (root.startswith(prefix) or prefix.startswith(root)):
                continue
            family = dataset.partition("/")[0]
            first, last = _days_of(prefix[len(root) :], HISTORY_STARTS[family], today)
            for day in file_days(family, first, last):
                found = self.find(f"{dataset}/{day:%Y}/{day:%m}/{day}.csv.gz")
                if found is not None and found.key.startswith(prefix):
                    yield found

    def etag(self, item: FileObject) -> str:
        """The object's ETag, without its bytes.

        Of the multi-part form (a hash, a dash, a count), which no client may take for the MD5
        of the content.
        """
        edition = [
            self.sim.world.seed,
            self.sim.world.profile,
            ",".join(self.sim.world.universe),
            item.key,
            item.version,
            *(f.kind for f in item.faults),
        ]
        return md5("|".join(map(str, edition)).encode(), usedforsecurity=False).hexdigest() + "-1"

    def size(self, item: FileObject) -> int:
        """Bytes of the object."""
        if item.spoiled:
            return len(self.body(item))
        return _SIZES[self.sim.world.profile][item.dataset]

    def body(self, item: FileObject) -> bytes:
        """The object's bytes, the same for the same edition."""
        return self._bodies.get((item.key, self.etag(item)), lambda: self._generate(item))

    def _generate(self, item: FileObject) -> bytes:
        kinds = {fault.kind for fault in item.faults}
        size = _SIZES[self.sim.world.profile][item.dataset]
        if "empty_file" in kinds:
            return b""
        if "html_file" in kinds:
            return b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
        day = previous_file_day(item.day) if "wrong_day" in kinds else item.day
        frame = self.sim.files.table(item.dataset, day, item.version)
        frame = _spoil_rows(frame, kinds)
        text = frame.write_csv(float_precision=DayFiles.float_precision(item.dataset, day)).encode()
        data = gzip_exact(text, size if not item.spoiled else None)
        if "wrong_crc" in kinds:
            data = data[:-8] + bytes(byte ^ 0xFF for byte in data[-8:-4]) + data[-4:]
        if "truncated_gzip" in kinds:
            data = data[:-8]
        return data

    # --- protocol -------------------------------------------------------------------------

    def serve(self, request: Request) -> Response:
        """Answer one request under ``/flatfiles``."""
        key = request.path_params.get("key", "")
        try:
            self._authenticate(request)
            if key == "":
                if request.method == "HEAD":
                    return Response(status_code=200, headers={"x-amz-bucket-region": "us-east-1"})
                return self._list(request)
            return self._get(request, key)
        except S3Error as error:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
                f"<Resource>{escape(request.url.path)}</Resource></Error>"
            ).encode()
            head = request.method == "HEAD"
            return Response(b"" if head else body, error.status, media_type="application/xml")

    def _authenticate(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        found = re.search(r"Credential=([^/,\s]+)", header)
        key = found[1] if found else request.query_params.get("X-Amz-Credential", "").split("/")[0]
        if not key:
            raise S3Error(403, "AccessDenied", "Access Denied")
        if not self.sim.accepts(key):
            raise S3Error(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            )

    def _entitled(self, item: FileObject) -> bool:
        plan = self.sim.plan
        if not plan.flat_files or any(f.kind == "unentitled_file" for f in item.faults):
            return False
        years = plan.option_years if item.dataset.startswith("us_options") else plan.stock_years
        today = self.sim.clock.now().astimezone(EASTERN).date()
        return years is None or item.day >= today - timedelta(days=round(365.25 * years))

    def _get(self, request: Request, key: str) -> Response:
        item = self.find(key)
        if item is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        if not self._entitled(item):
            raise S3Error(403, "AccessDenied", "Access Denied")
        headers = {
            "ETag": f'"{self.etag(item)}"',
            "Last-Modified": format_datetime(item.modified, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            headers["Content-Length"] = str(self.size(item))
            return Response(b"", headers=headers, media_type="application/gzip")
        body = self.body(item)
        match = _RANGE.match(request.headers.get("range", ""))
        if match is None or match[0] == "bytes=-":
            return Response(body, headers=headers, media_type="application/gzip")
        if match[1]:
            first = int(match[1])
            last = min(int(match[2]), len(body) - 1) if match[2] else len(body) - 1
        else:
            first, last = max(len(body) - int(match[2]), 0), len(body) - 1
        if first >= len(body) or first > last:
            raise S3Error(416, "InvalidRange", "The requested range is not satisfiable")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return Response(body[first : last + 1], 206, headers, "application/gzip")

    def _list(self, request: Request) -> Response:
        query = request.query_params
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        try:
            most = min(max(int(query.get("max-keys", "1000")), 0), 1000)
            token = query.get("continuation-token", "")
            after = (
                base64.urlsafe_b64decode(token).decode() if token else query.get("start-after", "")
            )
        except (ValueError, binascii.Error):
            raise S3Error(400, "InvalidArgument", "The continuation token is incorrect") from None
        entries: list[str] = []
        last, truncated = "", False
        seen: set[str] = set()
        for item in self.keys(prefix):
            folder = ""
            if delimiter and (cut := item.key.find(delimiter, len(prefix))) >= 0:
                folder = item.key[: cut + len(delimiter)]
            name = folder or item.key
            if name <= after or name in seen:
                continue
            if len(entries) == most:
                truncated = True
                break
            seen.add(name)
            last = name
            entries.append(
                f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
                if folder
                else self._contents(item)
            )
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            f'<ListBucketResult xmlns="{_NAMESPACE}"><Name>{BUCKET}</Name>',
            f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(entries)}</KeyCount>",
            f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(truncated).lower()}</IsTruncated>",
        ]
        if delimiter:
            parts.append(f"<Delimiter>{escape(delimiter)}</Delimiter>")
        if query.get("encoding-type"):
            parts.append("<EncodingType>url</EncodingType>")
        if token:
            parts.append(f"<ContinuationToken>{escape(token)}</ContinuationToken>")
        if truncated:
            following = base64.urlsafe_b64encode(last.encode()).decode()
            parts.append(f"<NextContinuationToken>{following}</NextContinuationToken>")
        body = "".join([*parts, *entries, "</ListBucketResult>"])
        return Response(body.encode(), media_type="application/xml")

    def _contents(self, item: FileObject) -> str:
        return (
            f"<Contents><Key>{escape(item.key)}</Key>"
            f"<LastModified>{item.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(item)}&quot;</ETag><Size>{self.size(item)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _days_of(rest: str, first: date, last: date) -> tuple[date, date]:
    """The days that a prefix behind the dataset's folder can mean, e.g. ``2026/11/``."""
    match = re.match(r"^(\d{4})/(?:(\d{2})/(?:(\d{4}-\d{2}-\d{2}))?)?", rest)
    if match is None:
        return first, last
    try:
        year = int(match[1])
        if match[3]:
            day = date.fromisoformat(match[3])
            return max(first, day), min(last, day)
        if match[2]:
            month = int(match[2])
            start = date(year, month, 1)
            following = date(year + month // 12, month % 12 + 1, 1)
            return max(first, start), min(last, following - timedelta(days=1))
        return max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
    except ValueError:
        return last, first - timedelta(days=1)


def _spoil_rows(frame: pl.DataFrame, kinds: set[str]) -> pl.DataFrame:
    """The rows as the file faults leave them; row 3 and those after it are touched."""
    if "malformed_symbol" in kinds:
        bad = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("O:AAPL211022C000150000"))
        frame = frame.with_columns(bad.otherwise(pl.col("ticker")).alias("ticker"))
    if "negative_price" in kinds:
        bad = pl.when(pl.int_range(pl.len()) == 4).then(-pl.col("close"))
        frame = frame.with_columns(bad.otherwise(pl.col("close")).alias("close"))
    if "duplicate_rows" in kinds:
        frame = pl.concat([frame.head(6), frame.slice(5)])
    if "conflicting_rows" in kinds:
        at = min(10, frame.height - 1)
        changed = frame.slice(at, 1).with_columns((pl.col("open") + 0.01).alias("open"))
        frame = pl.concat([frame.head(at + 1), changed, frame.slice(at + 1)])
    if "extra_column" in kinds:
        frame = frame.with_columns(pl.lit(0).alias("surprise"))
    if "reordered_header" in kinds:
        frame = frame.select(reversed(frame.columns))
    return frame
