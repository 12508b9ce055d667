"""What a handle of the simulated virtdisk.dll stands for, and what handles share.

Rules:

1. All handles to a file see one disk: its size, its identities, what is going on with it.
2. An attachment is of the handles that were opened with one ResiliencyGuid, which VHDMP
   takes for one opener: they share the file, whatever the file's own sharing says.
   Parameters of version 1 have none, and count as zeros. (inferred)
3. A handle that does nothing to the content (GetInfoOnly, or an access mask of no more
   than GET_INFO and DETACH) shares the file with everybody, and sees every attachment.
4. An attachment ends with the last of its handles, unless it is permanent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing.virtdisk.images import NO_ID, Image

if TYPE_CHECKING:
    from pyvhdmp.testing.virtdisk.changes import Tracker

__all__ = ["Attachment", "Disk", "OpenImage", "Twin"]

_ACCESS: Final = enums.VIRTUAL_DISK_ACCESS
_ATTACH: Final = enums.ATTACH_VIRTUAL_DISK_FLAG
_HARMLESS: Final = _ACCESS.GET_INFO | _ACCESS.DETACH


@dataclass(eq=False)
class Attachment:
    """How a disk is attached. `offset`, `length`: the range that there is of it, or all."""

    flags: int
    drive: int
    offset: int = 0
    length: int | None = None

    @property
    def is_writable(self) -> bool:
        """Whether it takes writes."""
        return not self.flags & _ATTACH.READ_ONLY

    @property
    def is_permanent(self) -> bool:
        """Whether it outlives its handles."""
        return bool(self.flags & _ATTACH.PERMANENT_LIFETIME)

    @property
    def is_raw(self) -> bool:
        """Whether it is no drive of this machine."""
        return bool(self.flags & _ATTACH.NO_LOCAL_HOST)


@dataclass(eq=False)
class Twin:
    """A file that follows a disk. `is_level`: whether all of the disk has been copied."""

    handle: int
    path: str
    existing: bool
    takes_over: bool = False
    kind: str = "mirror"
    is_level: bool = False
    is_complete: bool = False


@dataclass(eq=False)
class Disk:
    """An image file that is open.

    `watchers`: are told which range is written, when it is. `at_end`: is called when the
    last handle is closed, unless the power was cut since (`is_lost`).
    """

    path: str
    image: Image
    handles: list[OpenImage] = field(default_factory=list)
    attachments: dict[uuid.UUID, Attachment] = field(default_factory=dict)
    is_busy: bool = False
    watchers: list[Callable[[int, int], None]] = field(default_factory=list)
    tracker: Tracker | None = None
    twin: Twin | None = None
    at_end: Callable[[], None] = lambda: None
    is_lost: bool = False

    def changed(self, offset: int, length: int) -> None:
        """A range has been written to."""
        for watcher in list(self.watchers):
            watcher(offset, length)


@dataclass(eq=False)
class OpenImage:
    """A handle to an image.

    `version`: of the parameters it was opened with; `mask`: the rights asked for with
    version 1. `chain`: the path and image of its parents, nearest first. `write_depth`: how
    many files are open for writing, its own the first.
    """

    disk: Disk
    version: int
    mask: int = 0
    read_only: bool = False
    info_only: bool = False
    cached: bool = False
    guid: uuid.UUID = NO_ID
    chain: list[tuple[str, Image]] = field(default_factory=list)
    write_depth: int = 1
    without_parents: bool = False
    custom_chain: bool = False

    @property
    def path(self) -> str:
        """The path of its file."""
        return self.disk.path

    @property
    def image(self) -> Image:
        """What it is."""
        return self.disk.image

    def allows(self, right: int) -> bool:
        """Whether the handle may be used for what a VIRTUAL_DISK_ACCESS right is about."""
        if self.version == enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1:
            allowed = self.mask
        elif self.info_only:
            allowed = _HARMLESS
        elif self.read_only:
            allowed = _HARMLESS | _ACCESS.ATTACH_RO
        else:
            allowed = _ACCESS.ALL
        return not right & ~allowed

    @property
    def is_harmless(self) -> bool:
        """Whether nothing can be done with its content."""
        return not (self.allows(_ACCESS.ATTACH_RO) or self.allows(_ACCESS.METAOPS))

    @property
    def access(self) -> int:
        """The rights to its file."""
        if self.is_harmless:
            return 0
        writes = not self.read_only and (
            self.allows(_ACCESS.ATTACH_RW) or self.allows(_ACCESS.METAOPS)
        )
        return constants.GENERIC_READ | (constants.GENERIC_WRITE if writes else 0)

    @property
    def share_mode(self) -> int:
        """What others may do with its file meanwhile: all of it if nothing is done here."""
        return 7 if self.is_harmless else constants.FILE_SHARE_READ

    @property
    def flags(self) -> int:
        """How its file is opened."""
        buffering = 0 if self.cached else constants.FILE_FLAG_NO_BUFFERING
        return constants.FILE_FLAG_OVERLAPPED | buffering

    @property
    def attachment(self) -> Attachment | None:
        """How the disk is attached, as far as this handle can tell."""
        attachments = self.disk.attachments
        if self.is_harmless:
            return next(iter(attachments.values()), None)
        return attachments.get(self.guid)

    @property
    def is_attached(self) -> bool:
        """Whether there is a disk to read from."""
        return self.attachment is not None

    @property
    def is_writable(self) -> bool:
        """Whether it takes writes."""
        attachment = self.attachment
        return attachment is not None and attachment.is_writable

    @property
    def size(self) -> int:
        """The bytes that there are to read: of the disk, or of the range that is attached."""
        attachment = self.attachment
        if attachment is None or attachment.length is None:
            return self.image.size
        return min(attachment.length, max(0, self.image.size - attachment.offset))

    @property
    def start(self) -> int:
        """Where in the disk the first of them lies."""
        return self.attachment.offset if self.attachment is not None else 0

    def peers(self) -> list[OpenImage]:
        """Return the other handles that VHDMP takes for the same opener."""
        if self.is_harmless:
            return []
        return [
            other
            for other in self.disk.handles
            if other is not self and not other.is_harmless and other.guid == self.guid
        ]

    def close(self) -> bool:
        """The handle is closed. Return whether the system keeps the file for an attachment."""
        attachment = None if self.is_harmless else self.attachment
        if not self.peers() and attachment is not None:
            if attachment.is_permanent:
                return True
            del self.disk.attachments[self.guid]
        self.disk.handles.remove(self)
        if not self.disk.handles and not self.disk.is_lost:
            self.disk.at_end()
        return False
