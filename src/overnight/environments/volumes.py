"""File systems of a fixed size for what attempts write: who fills his own gets ENOSPC, and nobody else.

Each is an ext4 image, sparse, mounted through a loop device; that needs root and a kernel with both. An
image is copied from a template that was formatted once, so a volume costs a mount and not a format. Images
of processes that died are found by their locks and let go.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from overnight.git.lock import locked

VOLUME_SUFFIX = ".volume"
"""The image of the volume at `place` lies beside it, as `place` with this suffix."""

_FORMAT = "1"
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"
_LOOP_CONTROL = Path("/dev/loop-control")
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_AUTOCLEAR = 4
_MS_NOSUID, _MS_NODEV, _MS_NOATIME = 2, 4, 1024
_MNT_DETACH = 2
_TRIES = 50
_libc = ctypes.CDLL(None, use_errno=True)

# No journal: what is lost with the machine comes back from the last checkpoint. Nothing is written that a
# fresh volume does not need, and the kernel is told not to do so later either (noinit_itable).
_FEATURES = "^has_journal,^resize_inode,sparse_super2,^metadata_csum,uninit_bg,extent,flex_bg"
_OPTIONS = "noinit_itable,nobarrier,discard"


class Volumes:
    """Makes volumes of `size` bytes beneath `root`, which several processes may share."""

    def __init__(self, root: Path, size: int) -> None:
        self._root = root
        self._size = size

    @property
    def template(self) -> Path:
        """The formatted image that volumes are copies of."""
        return self._root / f"template-{_FORMAT}-{self._size}"

    async def prepare(self) -> bool:
        """Make the template if it is missing; say whether this machine can mount volumes at all."""
        if os.geteuid() != 0 or not _LOOP_CONTROL.exists():
            return False
        if self.template.exists():
            return True
        if shutil.which("mkfs.ext4", path=_SEARCH) is None:
            return False
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with locked(self._root / "template.lock"):
            return self.template.exists() or self._format()

    def _format(self) -> bool:
        handle, name = tempfile.mkstemp(prefix=".new-", dir=self._root)
        try:
            os.truncate(handle, self._size)
            inodes = max(2_000, self._size // 16_384)
            command = ["mkfs.ext4", "-q", "-F", "-O", _FEATURES, "-m", "0", "-b", "4096", "-I", "256"]
            command += ["-N", str(inodes), "-E", "lazy_itable_init=1,nodiscard", name]
            done = subprocess.run(command, env={"PATH": _SEARCH}, capture_output=True, check=False)
            if done.returncode != 0:
                return False
            Path(name).replace(self.template)
            return True
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)

    def mount(self, place: Path) -> Path:
        """Mount a fresh volume at the empty folder `place` and return its image, which may be removed.

        Raises:
            OSError: it cannot be mounted; nothing of it is left.
        """
        image = place.with_name(f"{place.name}{VOLUME_SUFFIX}")
        try:
            _copy_sparse(self.template, image)
            mount_image(image, place)
            with suppress(FileNotFoundError):
                (place / "lost+found").rmdir()
        except BaseException:
            image.unlink(missing_ok=True)
            raise
        return image


def let_go(place: Path) -> None:
    """Unmount the volume at `place`, if there is one, and remove its image; never waits for a user of it."""
    image = place.with_name(f"{place.name}{VOLUME_SUFFIX}")
    # First the image: what is still in memory then need not reach the disk.
    image.unlink(missing_ok=True)
    while is_mounted(place):
        if _libc.umount2(os.fsencode(place), _MNT_DETACH) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(place))


def is_mounted(place: Path) -> bool:
    """Say whether something is mounted at the folder."""
    try:
        return place.is_dir() and place.stat().st_dev != place.parent.stat().st_dev
    except OSError:
        return False


def mount_image(image: Path, place: Path) -> None:
    """Mount an ext4 image; the loop device goes with the mount."""
    loop = _attach(image)
    try:
        flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOATIME)
        device = os.readlink(f"/proc/self/fd/{loop}")  # noqa: PTH115
        if _libc.mount(device.encode(), os.fsencode(place), b"ext4", flags, _OPTIONS.encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(place))
    finally:
        # With autoclear the device lets the image go when the last user does: here, or at the unmount.
        os.close(loop)


def _attach(image: Path) -> int:
    """Return an open loop device over `image`, as in the kernel's include/uapi/linux/loop.h."""
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    control = os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    # struct loop_config: fd, block size, struct loop_info64, reserved.
    info = struct.pack("=5Q4I", 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR) + bytes(64 + 64 + 32 + 16)
    config = struct.pack("=II", backing, 0) + info + bytes(64)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            loop = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
            except OSError:
                # Somebody else took the device between the two calls.
                os.close(loop)
                continue
            return loop
        raise OSError(None, "no loop device is free", str(image))
    finally:
        os.close(control)
        os.close(backing)


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy a file's data and leave its holes."""
    with source.open("rb") as old, target.open("wb") as new:
        os.fchmod(new.fileno(), 0o600)
        size = os.fstat(old.fileno()).st_size
        os.truncate(new.fileno(), size)
        at = 0
        while at < size:
            try:
                begin = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            while begin < at:
                begin += os.copy_file_range(old.fileno(), new.fileno(), at - begin, begin, begin)
