"""What a typed program makes of the package: test.sh has mypy read it strictly. It is never run."""

from __future__ import annotations

import pathlib
from typing import Any, Dict, List, Optional, Type

from matrixe2ee import (
    Account,
    Clock,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
    StoreBackend,
    StoreChange,
    StoreEntry,
    StoreOpener,
    broken_store_rules,
    canonical_json,
    keys_claim_request,
    raw,
    read_keys_claim_response,
    verify_signed_json,
    version,
)

Json = Dict[str, Any]


class Noon(Clock):
    def now_ms(self) -> int:
        return 1_700_000_000_000


class Records(StoreBackend):
    def __init__(self) -> None:
        self.kept: Dict[str, Dict[bytes, bytes]] = {}

    def get(self, collection: str, key: bytes) -> Optional[bytes]:
        return self.kept.get(collection, {}).get(key)

    def scan(self, collection: str, after_key: Optional[bytes], limit: int) -> List[StoreEntry]:
        return [StoreEntry(key=key, value=value) for key, value in self.kept[collection].items()]

    def commit(self, changes: List[StoreChange]) -> None:
        for change in changes:
            value: Optional[bytes] = change.value
            if value is not None:
                self.kept[change.collection][change.key] = value


class Opener(StoreOpener):
    def open(self) -> StoreBackend:
        return Records()


def open_stores(folder: pathlib.Path, key: bytes) -> None:
    rules: List[str] = broken_store_rules(Opener()) + broken_store_rules(Records)
    print(version(), rules)
    with Store.foreign(Records(), key) as store, Store.open_sqlite(folder / "a", key) as other:
        store.set_clock(Noon())
        other.rekey(key)
        other.rekey_with_passphrase("correct horse")
        problems: List[Json] = other.problems()
        other.salvage(folder / "b", key)
        print(problems)
    Store.open_sqlite_with_passphrase("a", "correct horse").shut_down()
    below: raw.Store = raw.Store.in_memory(key)
    below.shut_down()


def talk(alice: Account, bob: Account, response: str) -> Json:
    upload: Optional[Json] = alice.keys_upload_request()
    if upload is not None:
        alice.receive_keys_upload_response(200, {"one_time_key_counts": {}})
    alice.receive_key_counts({"signed_curve25519": 50}, ["signed_curve25519"])
    user_id, identity_key = alice.user_id(), alice.identity_key()
    claimed: Json = read_keys_claim_response(keys_claim_request({"@b:hs": ["BOB"]}, 10_000), response)
    signed: Json = alice.sign_json({"text": canonical_json([claimed, None])})
    verify_signed_json(signed, user_id, f"ed25519:{alice.device_id()}", alice.fingerprint_key())
    with OlmChannel.create_outbound_channel(alice, bob.device_keys(), claimed) as channel:
        first: Json = channel.encrypt("m.dummy", {})
        count: int = channel.session_count()
        due: bool = channel.should_create_new_session()
        print(count + 1, due, channel.partner()["fingerprint"])
    event = OlmChannel.create_from_encrypted_message(bob, user_id, identity_key, first).first_event()
    session = OutboundMegolmSession.create(alice, "!room:hs", {"reserve_ahead": 1})
    items: List[Any] = session.get_session_key_for_sending({"members": {}, "device_keys": {}})
    session.mark_as_sent([item["device"] for item in items])
    content: Json = session.encrypt("m.room.message", '{"body": "hello"}')
    with InboundMegolmSession.from_room_key(bob, user_id, identity_key, event) as inbound:
        inbound.decrypt_many([content])
        exported: Json = inbound.export_at(session.message_index())
    return InboundMegolmSession.from_export(bob, exported).decrypt(content)


def explain(session: InboundMegolmSession, event: Json) -> str:
    temporary: List[Type[E2eeError]] = [E2eeError.StoreIo, E2eeError.ClockFailed]
    try:
        return str(session.decrypt(event)["content"])
    except E2eeError.Replay as error:
        index: int = error.message_index
        return f"{error.event_id.upper()} has used {index + 1} already"
    except E2eeError.UnknownIndex as error:
        return f"{error.got - error.first_known}"
    except (E2eeError.UnableToDecrypt, E2eeError.SessionExpired) as error:
        return error.reason.upper()
    except E2eeError as error:
        again = isinstance(error, tuple(temporary))
        return f"{error.code() + 0} {error.name().upper()} {error.detail.upper()} {error.json()} {again}"


def refuse() -> None:
    raise E2eeError.StoreIo("disk full")


def wrong(store: Store, account: Account, error: E2eeError) -> None:
    """Each of these is an error for mypy, or it would complain that it ignores none."""
    Store.in_memory("text")  # type: ignore[arg-type]
    Account.open(account, "@alice:hs", "ALICE")  # type: ignore[arg-type]
    account.sign_json(["no object"])  # type: ignore[arg-type]
    account.encrypt_for_devices({"no": "list"})  # type: ignore[arg-type]
    account.no_such_method()  # type: ignore[attr-defined]
    store.set_clock(lambda: 0)  # type: ignore[arg-type]
    print(error.event_id, E2eeError.NoSuchError)  # type: ignore[attr-defined]
    text: str = account.device_keys()  # type: ignore[assignment]
    print(text)
