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
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from overnight.environments.beneath import remove_tree
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
_MS_REC, _MS_SLAVE = 16384, 1 << 19
_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2
_OPEN_TREE, _MOVE_MOUNT = 428, 429
_CLONE, _EMPTY_PATH, _AT_FDCWD = 1, 4, -100
FOLDERS = ("upper", "work", "scratch", "scratch/tmp", "scratch/home")
"""What volumes that were kept ready have in them."""
READY = 2
"""Volumes kept ready for the next workspaces."""
_TRIES = 50
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# No journal: what is lost with the machine comes back from the last checkpoint. Nothing is written that a
# fresh volume does not need, and the kernel is told not to do so later either (noinit_itable).
_FEATURES = "^has_journal,^resize_inode,sparse_super2,^metadata_csum,uninit_bg,extent,flex_bg"
_OPTIONS = "noinit_itable,nobarrier,discard"


def enter_own_mounts() -> bool:
    """Give this process mounts of its own, which end with it and its children, however they end.

    Only while it has a single thread: another one would stay behind. Returns whether it was done.
    """
    if os.geteuid() != 0 or len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        return False
    if _libc.unshare(_CLONE_NEWNS) != 0:
        return False
    # What the machine mounts later is seen here too, and nothing of ours there.
    return _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None) == 0


class _Ready(msgspec.Struct, frozen=True):
    """A mounted volume that nobody uses yet: its image, locked by this process, and the mount itself."""

    image: Path
    lock: int
    tree: int

    def drop(self) -> None:
        self.image.unlink(missing_ok=True)
        os.close(self.tree)
        os.close(self.lock)


class Volumes:
    """Makes volumes of `size` bytes beneath `root`, which several processes may share.

    Some can be kept ready, mounted nowhere: the next workspace then only puts one in its place.
    """

    def __init__(self, root: Path, size: int) -> None:
        self._root = root
        self._size = size
        self._ready: list[_Ready] = []
        self._filling = threading.Lock()

    @property
    def template(self) -> Path:
        """The formatted image that volumes are copies of."""
        return self._root / f"template-{_FORMAT}-{self._size}"

    async def prepare(self) -> bool:
        """Make the template if it is missing; say whether this machine can mount volumes at all."""
        if os.geteuid() != 0 or not _LOOP_CONTROL.exists():
            return False
        self._remove_abandoned()
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
        while self._ready:
            if _take(self._ready.pop(), image, place):
                return image
        try:
            _copy_sparse(self.template, image)
            mount_image(image, place)
            with suppress(FileNotFoundError):
                (place / "lost+found").rmdir()
        except BaseException:
            image.unlink(missing_ok=True)
            raise
        return image

    def fill(self, count: int = READY) -> None:
        """Keep `count` volumes ready. May run in a thread; one at a time is enough."""
        if not self._filling.acquire(blocking=False):
            return
        try:
            while len(self._ready) < count:
                self._ready.append(self._make_ready())
        except OSError:
            return  # then a workspace makes its own, and says why it cannot
        finally:
            self._filling.release()

    def close(self) -> None:
        """Let go of the volumes that are ready."""
        while self._ready:
            self._ready.pop().drop()

    def _make_ready(self) -> _Ready:
        handle, name = tempfile.mkstemp(prefix="ready-", suffix=VOLUME_SUFFIX, dir=self._root)
        image, place = Path(name), Path(name).with_suffix("")
        try:
            # While it is held the image is somebody's, also before it is mounted.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _copy_sparse(self.template, image)
            place.mkdir(mode=0o700)
            mount_image(image, place)
            try:
                (place / "lost+found").rmdir()
                _lay_out(place)
                tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(place), _CLONE | os.O_CLOEXEC)
            finally:
                _libc.umount2(os.fsencode(place), _MNT_DETACH)
        except BaseException:
            image.unlink(missing_ok=True)
            os.close(handle)
            raise
        finally:
            with suppress(OSError):
                place.rmdir()
        return _Ready(image, handle, tree)

    def _remove_abandoned(self) -> None:
        """Remove the ready images of processes that died; their mounts went with them."""
        for image in self._root.glob(f"ready-*{VOLUME_SUFFIX}"):
            with suppress(OSError):
                handle = os.open(image, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    let_go(image.with_suffix(""))
                    remove_tree(image.with_suffix(""))
                finally:
                    os.close(handle)


def _lay_out(place: Path) -> None:
    """Make a workspace's folders, each used once: an empty file system reads its maps at the first use."""
    for name in FOLDERS:
        (place / name).mkdir(0o700 if "/" in name else 0o755)
        (place / name / "first").mkdir()
        (place / name / "first").rmdir()


def _take(ready: _Ready, image: Path, place: Path) -> bool:
    """Put a ready volume at `place`; False, with nothing left, where that fails."""
    try:
        ready.image.rename(image)
        _call(_MOVE_MOUNT, ready.tree, b"", _AT_FDCWD, os.fsencode(place), _EMPTY_PATH)
    except OSError:
        image.unlink(missing_ok=True)
        ready.drop()
        return False
    os.close(ready.tree)
    os.close(ready.lock)
    return True


def _call(number: int, *arguments: int | bytes) -> int:
    """Make a system call that the C library has no name for; its number is the same on all machines."""
    given = [ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *given))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


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
