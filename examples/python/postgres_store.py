"""A store of your own in 60 lines: a bot's keys in a PostgreSQL database.

    # pip install matrixe2ee "psycopg[binary]"
    backend = PostgresStore("dbname=bots user=bots", "alice")
    with contextlib.closing(backend), Store.foreign(backend, key) as store:
        account = Account.open(store, "@alice:example.org", "BOT")

All stores of a database are in one table, each under its name. Keys and values are hashed and
encrypted before they get here. What the rules of StoreBackend ask for, and how it is done:

- A commit is one transaction, on disk when it returns, whatever the server's synchronous_commit is.
  (A server with fsync=off keeps no promises at all.)
- One opener: the connection holds a lock of the server's (pg_advisory_lock), so it needs a session of
  its own, not a pool that hands out transactions. An opener that finds it held is STORE_IN_USE.
- After any failure the connection is given up. The library reports STORE_IO, and its next call
  connects again. That it first has to get the lock proves that the old session has ended: nothing
  of it is committed later. If another program has opened the store in between, what the library has
  in memory is out of date, and this backend is never used again.
- Threads take turns.

The test that every store of your own should have (pytest):

    class Opener(StoreOpener):
        def open(self):
            return PostgresStore("dbname=test", "an empty store")

    def test_my_store():
        assert broken_store_rules(Opener()) == []
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import psycopg
from matrixe2ee import E2eeError, StoreBackend, StoreChange, StoreEntry

TABLE = """CREATE TABLE IF NOT EXISTS matrixe2ee_record (store text, collection text, key bytea,
    value bytea NOT NULL, PRIMARY KEY (store, collection, key))"""
SCAN = """SELECT key, value FROM matrixe2ee_record
    WHERE store = %s AND collection = %s AND key > %s ORDER BY key LIMIT %s"""
GET = "SELECT value FROM matrixe2ee_record WHERE store = %s AND collection = %s AND key = %s"
PUT = """INSERT INTO matrixe2ee_record VALUES (%s, %s, %s, %s)
    ON CONFLICT (store, collection, key) DO UPDATE SET value = excluded.value"""
DELETE = "DELETE FROM matrixe2ee_record WHERE store = %s AND collection = %s AND key = %s"
LOCK = "SELECT pg_advisory_lock(hashtextextended('matrixe2ee ' || %s, 0))"
TABLE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('matrixe2ee', 0))"


class PostgresStore(StoreBackend):
    """The records of one store, reached by a libpq connection string or URL."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo, self._name, self._turn = conninfo, name, threading.Lock()
        self._opener = os.urandom(16)
        self._connection = self._connect(first=True)

    def _connect(self, first: bool = False) -> psycopg.Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            connection.execute("SET synchronous_commit = on")
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '2s'")
                connection.execute(LOCK, [self._name])
                # A record that is not the library's (its collections have names) says who opened.
                who = (self._name, "", b"")
                if first:
                    connection.execute(TABLE_LOCK)
                    connection.execute(TABLE)
                    connection.execute(PUT, (*who, self._opener))
                elif connection.execute(GET, who).fetchone() != (self._opener,):
                    raise E2eeError.StoreInUse("another program has opened the store since")
            return connection
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.errors.LockNotAvailable):
                raise E2eeError.StoreInUse("another program has the store open") from None
            raise

    @contextlib.contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        with self._turn:
            if self._connection.closed:
                self._connection = self._connect()
            try:
                yield self._connection
            except BaseException:
                self._connection.close()
                raise

    def get(self, collection: str, key: bytes) -> bytes | None:
        with self._session() as session:
            row = session.execute(GET, (self._name, collection, key), binary=True).fetchone()
        return row[0] if row else None

    def scan(self, collection: str, after_key: bytes | None, limit: int) -> list[StoreEntry]:
        after = after_key or b""  # which comes before every key
        with self._session() as session:
            rows = session.execute(SCAN, (self._name, collection, after, limit), binary=True)
            return [StoreEntry(key=key, value=value) for key, value in rows]

    def commit(self, changes: list[StoreChange]) -> None:
        # The last change of a record is the one that counts.
        last = {(self._name, change.collection, change.key): change.value for change in changes}
        puts = [(*record, value) for record, value in last.items() if value is not None]
        deletes = [record for record, value in last.items() if value is None]
        with self._session() as session, session.transaction(), session.cursor() as cursor:
            cursor.executemany(PUT, puts)
            cursor.executemany(DELETE, deletes)

    def close(self) -> None:
        """Lets another program have the store; call it when the store was shut down."""
        self._connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()
