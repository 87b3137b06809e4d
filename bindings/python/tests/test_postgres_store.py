"""The store of examples/python/postgres_store.py, on a real server: see test_postgres.sh."""

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from bots import Bot
from matrixe2ee import Account, E2eeError, Store, StoreOpener, broken_store_rules
from postgres_server import PostgresServer
from postgres_store import PostgresStore

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def own_server():
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def server(own_server):
    own_server.start()  # unless it runs: a test that kills it may have failed
    return own_server


@pytest.fixture
def name(request):
    """A name for the stores of one test."""
    return request.node.name


@pytest.fixture
def database(server):
    """A session of somebody else's."""
    with psycopg.connect(server.conninfo, autocommit=True) as session:
        yield session


@pytest.fixture
def bot(server, name):
    bots = []

    def start(who):
        bots.append(Bot(who, lambda: PostgresStore(server.conninfo, f"{name} {who}")))
        return bots[-1]

    yield start
    for bot in bots:
        with contextlib.suppress(E2eeError.StoreIo):
            bot.stop()


def rows(database, name):
    return database.execute(
        "SELECT * FROM matrixe2ee_record WHERE store LIKE %s ORDER BY 1, 2, 3", [f"{name}%"]
    ).fetchall()


def test_the_store_keeps_all_rules(server, name):
    class Opener(StoreOpener):
        def open(self):
            return PostgresStore(server.conninfo, name)

    assert broken_store_rules(Opener()) == []


def test_two_bots_talk_and_go_on_after_restarts(bot):
    alice, bob = bot("alice"), bot("bob")
    assert alice.tell(bob, "org.example.note", {"number": 1})["content"] == {"number": 1}
    assert bob.read(alice.say("Hello", bob)) == ("Hello", 0)
    alice.restart()
    bob.restart()
    assert bob.tell(alice, "org.example.note", {"number": 2})["content"] == {"number": 2}
    bob.restart()
    assert alice.tell(bob, "org.example.note", {"number": 3})["content"] == {"number": 3}
    assert bob.read(alice.say("Again", bob)) == ("Again", 1)
    assert alice.read(bob.say("Hello yourself", alice)) == ("Hello yourself", 0)


def test_a_server_that_is_killed_takes_nothing_with_it(server, bot):
    alice, bob = bot("alice"), bot("bob")
    before = alice.say("before", bob)
    channel, session = alice.channel_to(bob), alice.room_session()
    last = channel.encrypt("org.example.note", {"number": 1})
    server.kill()
    for _ in range(2):
        with pytest.raises(E2eeError.StoreIo):
            channel.encrypt("org.example.note", {"number": 2})
        with pytest.raises(E2eeError.StoreIo):
            bob.read(before)
    server.start()
    # Those that were open go on, and so do those that are opened anew.
    assert bob.hear(alice, last)["content"] == {"number": 1}
    assert bob.read(before) == ("before", 0)
    third = channel.encrypt("org.example.note", {"number": 3})
    alice.restart()
    fourth = alice.channel_to(bob).encrypt("org.example.note", {"number": 4})
    assert bob.hear(alice, fourth)["content"] == {"number": 4}
    assert bob.hear(alice, third)["content"] == {"number": 3}
    words, index = bob.read(alice.say("after", bob))
    assert words == "after" and index > 0
    with pytest.raises(E2eeError.StoreClosed):
        session.encrypt("m.room.message", {})


def test_a_commit_is_on_disk_though_the_server_would_not_wait_for_it(server, bot):
    alice, bob = bot("alice"), bot("bob")
    for number in range(5):
        alice.tell(bob, "org.example.note", {"number": number})
        identity = alice.account.identity_key()
        one = alice.channel_to(bob).encrypt("org.example.note", {"number": "one"})
        server.kill()
        server.start()
        alice.restart()
        bob.restart()
        # With a message key that was used before, this would be the same ciphertext as `one`.
        two = alice.channel_to(bob).encrypt("org.example.note", {"number": "two"})
        assert alice.account.identity_key() == identity
        for encrypted, word in (one, "one"), (two, "two"):
            assert bob.hear(alice, encrypted)["content"] == {"number": word}


def test_a_second_opener_is_refused(server, name):
    with Store.foreign(PostgresStore(server.conninfo, name), KEY):
        with pytest.raises(E2eeError.StoreInUse):
            PostgresStore(server.conninfo, name)
        with Store.foreign(PostgresStore(server.conninfo, name + " 2"), KEY):
            pass
    Store.foreign(PostgresStore(server.conninfo, name), KEY).shut_down()


def test_a_program_that_is_killed_leaves_the_store_to_the_next(server, name):
    program = subprocess.Popen(
        [sys.executable, "-c", f"""
from matrixe2ee import Store
from postgres_store import PostgresStore
store = Store.foreign(PostgresStore({server.conninfo!r}, {name!r}), {KEY!r})
print("open", flush=True)
input()
"""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdout.readline() == b"open\n"
        with pytest.raises(E2eeError.StoreInUse):
            PostgresStore(server.conninfo, name)
        program.kill()
    Store.foreign(PostgresStore(server.conninfo, name), KEY).shut_down()


def end_sessions(database):
    """As when the network fails: only the server knows that it was somebody's will."""
    database.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE pid != pg_backend_pid() AND backend_type = 'client backend'"
    )


def test_a_lost_connection_fails_one_call(database, bot):
    alice, bob = bot("alice"), bot("bob")
    channel = alice.channel_to(bob)
    end_sessions(database)
    with pytest.raises(E2eeError.StoreIo) as caught:
        channel.encrypt("org.example.note", {})
    assert caught.value.detail.startswith("the backend failed to ")
    assert channel.encrypt("org.example.note", {})


def test_a_store_that_somebody_else_opened_meanwhile_is_not_used_again(server, database, bot, name):
    alice, bob = bot("alice"), bot("bob")
    channel = alice.channel_to(bob)
    end_sessions(database)
    other = PostgresStore(server.conninfo, f"{name} alice")
    del other  # it has gone again, and might have encrypted something
    kept = rows(database, name)
    for _ in range(3):
        with pytest.raises(E2eeError.StoreIo):
            channel.encrypt("org.example.note", {})
    assert rows(database, name) == kept
    alice.restart()
    bob.restart()
    assert alice.tell(bob, "org.example.note", {"number": 1})["content"] == {"number": 1}


@pytest.mark.parametrize("change", [
    "value = set_byte(value, length(value) - 1, 255 - get_byte(value, length(value) - 1))",
    "value = substr(value, 1, length(value) - 1)",
    "value = (SELECT value FROM matrixe2ee_record AS other WHERE other.store = record.store"
    " AND other.collection != '' AND other.key != record.key LIMIT 1)",
])
def test_an_altered_row_is_noticed(server, database, name, change):
    with Store.foreign(PostgresStore(server.conninfo, name), KEY) as store:
        Account.open(store, "@alice:example.org", "ALICE")
    changed = database.execute(
        f"UPDATE matrixe2ee_record AS record SET {change} WHERE store = %s AND collection = 'account'",
        [name],
    )
    assert changed.rowcount == 1
    with Store.foreign(PostgresStore(server.conninfo, name), KEY) as store:
        with pytest.raises(E2eeError.Corrupt):
            Account.open(store, "@alice:example.org", "ALICE")


AT_THE_END = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'the disk of @alice:example.org is full'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON matrixe2ee_record
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""
AT_THE_SECOND_CHANGE = """
    CREATE SEQUENCE changes;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF nextval('changes') % 2 = 0 THEN RAISE 'full'; END IF; RETURN NULL; END $$;
    CREATE TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON matrixe2ee_record
        FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.mark.parametrize("trigger", [AT_THE_END, AT_THE_SECOND_CHANGE], ids=["end", "second"])
def test_a_failed_transaction_leaves_everything_as_it_was(database, bot, name, trigger):
    alice, bob = bot("alice"), bot("bob")
    channel = alice.channel_to(bob)
    database.execute(trigger)
    kept = rows(database, name)
    try:
        with pytest.raises(E2eeError.StoreIo) as caught:
            channel.encrypt("org.example.note", {"number": 1})
        assert caught.value.detail.startswith("the backend failed to commit")
        assert "alice" not in caught.value.detail  # the database's own words
        with pytest.raises(E2eeError.StoreIo):
            alice.room_session()
    finally:
        database.execute("DROP FUNCTION refuse CASCADE; DROP SEQUENCE IF EXISTS changes")
    assert rows(database, name) == kept
    encrypted = channel.encrypt("org.example.note", {"number": 2})
    assert bob.hear(alice, encrypted)["content"] == {"number": 2}
    assert bob.read(alice.say("Hello", bob)) == ("Hello", 0)


def test_an_interruption_while_committing_is_a_failure_of_the_call(server, bot, name):
    class Interrupted(PostgresStore):
        interrupt = False

        def commit(self, changes):
            if self.interrupt:
                raise KeyboardInterrupt  # Ctrl-C, while the database works
            super().commit(changes)

    alice, bob = Bot("alice", lambda: Interrupted(server.conninfo, name)), bot("bob")
    channel = alice.channel_to(bob)
    alice.backend.interrupt = True
    # Either way there is no ciphertext whose key is free to be used again.
    with pytest.raises((E2eeError.StoreIo, KeyboardInterrupt)):
        channel.encrypt("org.example.note", {})
    alice.backend.interrupt = False
    alice.stop()


def test_several_threads_use_one_store_at_once(bot):
    alice = bot("alice")
    rooms = [f"!room{number}:example.org" for number in range(4)]

    def talk(room):
        return [alice.room_session(room).encrypt("m.room.message", {}) for _ in range(10)]

    with ThreadPoolExecutor(4) as threads:
        said = [content["ciphertext"] for texts in threads.map(talk, rooms) for content in texts]
    assert len(set(said)) == 40
    alice.restart()
    assert [alice.room_session(room).message_index() for room in rooms] == [10] * 4


def test_nobody_with_the_database_reads_who_the_store_belongs_to(database, bot, name):
    alice, bob = bot("alice"), bot("bob")
    alice.say("a secret", bob)
    kept = b"".join(part for row in rows(database, name) for part in row[2:])
    assert kept and not any(word in kept for word in (b"alice", b"example.org", b"a secret"))
