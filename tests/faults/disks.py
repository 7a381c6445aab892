"""Real file systems in the place of a job's folder: mount namespaces of this process, as root."""
import ctypes
import os
import shutil

CLONE_NEWNS = 0x00020000
RDONLY, REMOUNT, BIND, REC, PRIVATE = 1, 32, 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, flags, words=""):
    names = [os.fsencode(str(name)) for name in (source, target, kind)]
    if LIBC.mount(*names, ctypes.c_ulong(flags), words.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def unmount(target):
    LIBC.umount2(os.fsencode(str(target)), 2)  # also where something still has it open


def can_mount():
    """Whatever is mounted from here on is this process's own, and ends with it."""
    if LIBC.unshare(CLONE_NEWNS) != 0:
        return False
    try:
        mount("none", "/", "", REC | PRIVATE)
        return True
    except OSError:
        return False


def bytes_below(folder):
    """With a page for each name."""
    return sum(4096 + path.lstat().st_size // 4096 * 4096 for path in folder.rglob("*"))


class SmallDisk:
    """A tmpfs with what the folder held, and `room` bytes more."""

    def __init__(self, folder, room):
        self.folder = folder
        kept = folder.with_name("kept")
        folder.rename(kept)
        folder.mkdir()
        mount("tmpfs", folder, "tmpfs", 0, f"size={bytes_below(kept) + room}")
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)

    def is_full(self):
        return shutil.disk_usage(self.folder).free < 128 << 10

    def make_room(self):
        mount("tmpfs", self.folder, "tmpfs", REMOUNT, "size=256m")

    def end(self):
        """What it holds stays, below the folder itself."""
        held = self.folder.with_name("held")
        shutil.copytree(self.folder, held, symlinks=True)
        unmount(self.folder)
        self.folder.rmdir()
        held.rename(self.folder)


class ReadOnly:
    """Names below the folder can only be read from now on; open files are still written."""

    def __init__(self, folder):
        self.folder = folder
        mount(folder, folder, "", BIND)
        mount("none", folder, "", REMOUNT | BIND | RDONLY)

    def end(self):
        unmount(self.folder)
