"""A PostgreSQL server of the test's own: in a temporary folder, on a free port of 127.0.0.1."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psycopg


def programs():
    """The folder of the newest server that is installed (Debian's are not in PATH), or None."""
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=shutil.which("postgres"))
    return newest and pathlib.Path(newest).parent


class PostgresServer:
    def __init__(self):
        # A server refuses to run as root; Debian's package brings a user for it.
        root = os.geteuid() == 0
        self._user = pwd.getpwnam("postgres") if root else pwd.getpwuid(os.geteuid())
        self._folder = tempfile.mkdtemp(prefix="matrixe2ee-postgres-")
        self._process = None
        os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        subprocess.run(
            [programs() / "initdb", "--auth=trust", "--username=test", "--encoding=UTF8",
             "--no-locale", "--no-sync", f"--pgdata={self._folder}/data"],
            check=True, stdout=subprocess.DEVNULL, **self._as_user(),
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.conninfo = f"host=127.0.0.1 port={self._port} user=test dbname=postgres"

    def _as_user(self):
        ids = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return {"cwd": self._folder} | (ids if os.geteuid() == 0 else {})

    def start(self):
        """Starts the server unless it runs, also after it was killed: processes of the old one may be
        ending then."""
        deadline = time.monotonic() + 60
        while True:
            if self._process is None or self._process.poll() is not None:
                self._launch()
            try:
                psycopg.connect(self.conninfo, connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise RuntimeError(pathlib.Path(self._folder, "log").read_text()) from None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=0.05)

    def _launch(self):
        # So a server loses the last commits when it is killed, and sorts only when it is asked to: a
        # store has to ask.
        settings = ["synchronous_commit=off", "wal_writer_delay=10s", "enable_indexscan=off",
                    "enable_indexonlyscan=off", f"port={self._port}",
                    "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"]
        options = [word for setting in settings for word in ("-c", setting)]
        with open(f"{self._folder}/log", "a") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", f"{self._folder}/data", *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._as_user(),
            )

    def kill(self):
        """The main process dies at once, and all others with it, without writing anything."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # ends all sessions, then itself
            self._process.wait(timeout=60)
        shutil.rmtree(self._folder)
