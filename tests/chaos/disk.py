"""Owns a disk so small that a test can fill it; nobody needs to be root for it.

A process gives itself namespaces in which it may mount, and mounts a file system in memory.
Others reach it by the process's folder in /proc.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from perdure_server.sidecar import with_parent

_MOUNT = 'mount -t tmpfs -o size="$1"m,mode=0700 none "$2" && echo mounted && exec sleep infinity'


class SmallDisk:
    """A disk of some megabytes that belongs to `user`, to whoever runs the tests by default.

    `point` is a folder that does not exist, in one of the user's.
    """

    def __init__(self, point, megabytes, *, user=None):
        self._point = point
        self._megabytes = megabytes
        self._user = user
        self._process = None
        self._root = None

    def open(self):
        """Returns an empty folder on the disk. Raises OSError when the machine allows none."""
        self._point.mkdir(mode=0o755)
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh"]
        self._process = subprocess.Popen(
            self._as_user(*command, str(self._megabytes), str(self._point)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout.readline() != "mounted\n":
            raise OSError(self._process.communicate()[1].strip())
        self._root = Path(f"/proc/{self._process.pid}/root{self._point}")
        data = self._root / "data"
        subprocess.run(self._as_user("mkdir", "-m", "0700", str(data)), check=True)
        return data

    def fill(self):
        """Takes all the room that there is; returns when there is none."""
        self._do("cat /dev/zero > filler")

    def free(self):
        """Gives the room back."""
        self._do("rm filler")

    def close(self):
        """Ends the disk with all that is on it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _as_user(self, program, *arguments):
        # With the same group as the database: the disk knows no other.
        return with_parent([shutil.which(program) or program, *arguments], user=self._user)

    def _do(self, script):
        subprocess.run(
            self._as_user("sh", "-c", script),
            cwd=self._root,
            stderr=subprocess.DEVNULL,
            check=False,
        )
