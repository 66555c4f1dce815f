"""Raw captures on disk: what a live snapshot answered, byte for byte, once and for good.

The tables are parsed from here, so a past day can be parsed again but never fetched again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tracker_dagster.sources.errors import CaptureError, NotFoundError

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
SLOT_FORMAT = "%Y%m%dT%H%M%SZ"
PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class RawPage:
    """One response of a live snapshot.

    Attributes:
        body: as the vendor sent it, after transfer decoding.
        received_at: when it was complete here (aware, UTC).
        url_path: path and query, without host or credentials.
        request_id: the vendor's identifier, when it gave one.
    """

    body: bytes
    received_at: datetime
    url_path: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RawCapture:
    """All pages of one name (an underlying, say) in one slot."""

    source: str
    dataset: str
    trade_date: date
    slot: datetime
    name: str
    path: Path
    pages: tuple[RawPage, ...]

    @property
    def received_at(self) -> datetime:
        """When the last page was complete: the capture could be known from then on."""
        return max(page.received_at for page in self.pages)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies in page order."""
        return [page.body for page in self.pages]


class RawStore:
    """Captures below ``root``: ``<source>/<dataset>/<trade_date>/<slot>/<name>/``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def write(
        self,
        source: str,
        dataset: str,
        trade_date: date,
        slot: datetime,
        name: str,
        pages: Iterable[RawPage],
    ) -> RawCapture:
        """Store a capture whole, or nothing.

        A capture that exists is returned as it is, and ``pages`` is not even begun: what
        was seen first stays. Pages become visible together, by one rename, after they and
        their folder have reached the disk.

        Raises:
            ValueError: no pages, or a naive ``slot``.
            SourceError: whatever ``pages`` raises while it is consumed.
        """
        final = self._folder(source, dataset, trade_date, slot, name)
        if (final / MANIFEST).exists():
            return self.read(source, dataset, trade_date, slot, name)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.parent / f"{PARTIAL}{os.getpid()}-{uuid.uuid4().hex}"
        partial.mkdir()
        try:
            entries = [_store_page(partial, n, page) for n, page in enumerate(pages, start=1)]
            if not entries:
                raise ValueError(f"a capture of {name} without pages")
            manifest = {
                "version": FORMAT_VERSION,
                "source": source,
                "dataset": dataset,
                "trade_date": trade_date.isoformat(),
                "slot": _aware(slot).isoformat(),
                "name": name,
                "pages": entries,
            }
            text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            _write_synced(partial / MANIFEST, text.encode())
            _sync_folder(partial)
            try:
                partial.rename(final)
            except OSError:
                # Another process finished the same capture first; its pages stand.
                if not (final / MANIFEST).exists():
                    raise
            _sync_folder(final.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self.read(source, dataset, trade_date, slot, name)

    def read(
        self, source: str, dataset: str, trade_date: date, slot: datetime, name: str
    ) -> RawCapture:
        """A stored capture, each page checked against its checksum.

        Raises:
            NotFoundError: nothing was captured: a permanent gap.
            CaptureError: a page is missing or changed.
        """
        folder = self._folder(source, dataset, trade_date, slot, name)
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            pages = tuple(_load_page(folder, entry) for entry in manifest["pages"])
        except FileNotFoundError as exc:
            if not folder.exists():
                raise NotFoundError(
                    f"no {dataset} capture of {name} at {_aware(slot):%Y-%m-%d %H:%M} UTC"
                ) from None
            raise CaptureError(
                f"capture {folder.name}: {Path(exc.filename).name} is gone"
            ) from None
        except (ValueError, KeyError, TypeError, EOFError, OSError, zlib.error) as exc:
            raise CaptureError(f"capture {folder.name} is damaged: {exc}") from None
        return RawCapture(source, dataset, trade_date, _aware(slot), name, folder, pages)

    def has(self, source: str, dataset: str, trade_date: date, slot: datetime, name: str) -> bool:
        """Whether the capture exists, without reading it."""
        return (self._folder(source, dataset, trade_date, slot, name) / MANIFEST).exists()

    def slots(self, source: str, dataset: str, trade_date: date) -> list[datetime]:
        """The slots with at least one complete capture, ascending."""
        folder = self.root / _part(source) / _part(dataset) / trade_date.isoformat()
        found = []
        for child in _children(folder):
            try:
                slot = datetime.strptime(child.name, SLOT_FORMAT).replace(tzinfo=UTC)
            except ValueError:
                continue
            if self.names(source, dataset, trade_date, slot):
                found.append(slot)
        return sorted(found)

    def names(self, source: str, dataset: str, trade_date: date, slot: datetime) -> list[str]:
        """The names captured in a slot, sorted."""
        folder = self._slot_folder(source, dataset, trade_date, slot)
        return sorted(
            unquote(child.name)
            for child in _children(folder)
            if not child.name.startswith(".") and (child / MANIFEST).exists()
        )

    def _slot_folder(self, source: str, dataset: str, day: date, slot: datetime) -> Path:
        stamp = _aware(slot).strftime(SLOT_FORMAT)
        return self.root / _part(source) / _part(dataset) / day.isoformat() / stamp

    def _folder(self, source: str, dataset: str, day: date, slot: datetime, name: str) -> Path:
        return self._slot_folder(source, dataset, day, slot) / _part(name)


def _part(name: str) -> str:
    """A file name for any symbol (``I:SPX``), reversible, never hidden or a parent."""
    if not name:
        raise ValueError("an empty name")
    encoded = quote(name, safe="")
    return "%2E" + encoded[1:] if encoded.startswith(".") else encoded


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}")
    return moment.astimezone(UTC)


def _children(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def _store_page(folder: Path, number: int, page: RawPage) -> dict[str, Any]:
    name = f"page-{number:04d}.json.gz"
    # mtime=0: the same answer gives the same bytes on disk.
    _write_synced(folder / name, gzip.compress(page.body, compresslevel=6, mtime=0))
    return {
        "file": name,
        "url_path": page.url_path,
        "received_at": _aware(page.received_at).isoformat(),
        "request_id": page.request_id,
        "bytes": len(page.body),
        "sha256": hashlib.sha256(page.body).hexdigest(),
    }


def _load_page(folder: Path, entry: dict[str, Any]) -> RawPage:
    body = gzip.decompress((folder / entry["file"]).read_bytes())
    if hashlib.sha256(body).hexdigest() != entry["sha256"]:
        raise ValueError(f"{entry['file']} does not match its checksum")
    return RawPage(
        body, datetime.fromisoformat(entry["received_at"]), entry["url_path"], entry["request_id"]
    )


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
