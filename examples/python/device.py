"""A device: all that it does with the library, and with a homeserver that it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from homeserver import ROOM, Homeserver
from matrixe2ee import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
    keys_claim_request,
    read_keys_claim_response,
)

MEGOLM = "m.megolm.v1.aes-sha2"

Json = dict[str, Any]


@dataclass
class Device:
    name: str
    user_id: str
    device_id: str
    path: str
    store_key: bytes = field(repr=False)  # a real program keeps it in the system's key store
    store: Store = field(init=False)
    account: Account = field(init=False)


def tell(line: str) -> None:
    print(f"   {line}")


# What comes from the server or from another device may be any JSON: it is taken apart with these two, and
# the library refuses what does not fit. One bad event is left out; the others are read.


def part(value: Any, *names: str) -> Any:
    """What stands under these names, each in the object that the one before gave; None if nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def items(value: Any) -> list[Any]:
    """The items of a list; of anything else, none."""
    return value if isinstance(value, list) else []


def leave_out(device: Device, what: str, error: E2eeError) -> None:
    tell(f'{device.name} leaves out {what}: {error.name()}, "{error}"')


def open_device(device: Device) -> None:
    """Opens the store and the account in it; the first time, both are made."""
    device.store = Store.open_sqlite(device.path, device.store_key)
    device.account = Account.open(device.store, device.user_id, device.device_id)


def close_device(device: Device) -> None:
    device.store.shut_down()


def upload_keys(server: Homeserver, device: Device) -> None:
    """Uploads what the account has to upload, if anything."""
    body = device.account.keys_upload_request()
    if body is None:
        return
    answer = server.keys_upload(device.user_id, device.device_id, body)
    try:
        device.account.receive_keys_upload_response(200, answer)
    except E2eeError as error:  # the next sync uploads them again
        return leave_out(device, "the answer to an upload", error)
    first = "the keys of the device, and " if "device_keys" in body else ""
    tell(f"{device.name} uploads {first}one-time keys: {len(body.get('one_time_keys', {}))}")


def members(server: Homeserver) -> list[str]:
    """Who is in the room."""
    return list(part(server.joined_members(), "joined") or {})


def query_devices(server: Homeserver) -> Json:
    """The devices of all members: {user: {device: device keys}}."""
    answer = server.keys_query({"device_keys": {user_id: [] for user_id in members(server)}})
    return part(answer, "device_keys") or {}


def claim_key(server: Homeserver, user_id: str, device_id: str) -> Json:
    """Claims a one-time key of a device: {key_id: key}."""
    request = keys_claim_request({user_id: [device_id]}, 10_000)
    answer = server.keys_claim(request)
    claimed = read_keys_claim_response(request, answer)
    key: Json = part(claimed, "one_time_keys", user_id, device_id) or {}
    return key


def channel_to(server: Homeserver, device: Device, device_keys: Json) -> OlmChannel:
    """The channel to a device: the stored one, or a new one with a key claimed for it."""
    user_id = device_keys["user_id"]
    device_id = device_keys["device_id"]
    identity_key = device_keys["keys"][f"curve25519:{device_id}"]
    try:
        channel = OlmChannel.create_from_storage(device.account, user_id, identity_key)
        channel.set_partner_device_keys(device_keys)
    except E2eeError.NotFound:
        key = claim_key(server, user_id, device_id)
        channel = OlmChannel.create_outbound_channel(device.account, device_keys, key)
        tell(f"{device.name} claims a one-time key of {device_id} and opens a channel")
    return channel


def room_session(device: Device) -> OutboundMegolmSession:
    """The session that encrypts what this device sends: the stored one, or a new one."""
    try:
        return OutboundMegolmSession.create_from_storage(device.account, ROOM)
    except E2eeError.NotFound:
        session = OutboundMegolmSession.create(device.account, ROOM)
        tell(f"{device.name} makes a session for the room")
        # The other half, so that the device can read what it has sent itself.
        InboundMegolmSession.from_outbound_session(session)
        return session


def share_room_key(server: Homeserver, device: Device, session: OutboundMegolmSession) -> None:
    """Sends the room key to each device that lacks it, over its channel. (A real program makes a new
    session when this raises SessionExpired.)"""
    for item in session.get_session_key_for_sending({
        "encryption": {"algorithm": MEGOLM},
        "history_visibility": "shared",
        "members": {user_id: "join" for user_id in members(server)},
        "device_keys": query_devices(server),
    }):
        keys = item["device"]
        if "content" not in item:
            # The device ID is absent if nothing that is listed under the user can be read.
            refused = f"{keys.get('device_id', 'any device')} of {keys['user_id']}"
            tell(f"{device.name} sends no room key to {refused}: {item['error']['detail']}")
            continue
        try:
            encrypted = channel_to(server, device, keys).encrypt("m.room_key", item["content"])
        except E2eeError as error:
            leave_out(device, keys["device_id"], error)
            continue
        body = {"messages": {keys["user_id"]: {keys["device_id"]: encrypted}}}
        server.send_to_device(device.user_id, "m.room.encrypted", body)
        session.mark_as_sent([keys])
        tell(f"{device.name} sends the room key to {keys['device_id']}")


def say(server: Homeserver, device: Device, words: str) -> str:
    """Sends words to the room; gives the event's ID."""
    session = room_session(device)
    share_room_key(server, device, session)
    encrypted = session.encrypt("m.room.message", {"msgtype": "m.text", "body": words})
    answer = server.send(device.user_id, "m.room.encrypted", encrypted)
    event_id: str = answer["event_id"]
    tell(f"{device.name} says in {event_id}: {words}")
    return event_id


def receive_to_device(device: Device, event: Json) -> None:
    """Decrypts a to-device event. If it is a room key, it is stored before anything else is done."""
    sender = part(event, "sender")
    content = part(event, "content")
    sender_key = part(content, "sender_key")
    try:
        channel = OlmChannel.create_from_storage(device.account, sender, sender_key)
    except E2eeError.NotFound:
        channel = OlmChannel.create_from_encrypted_message(
            device.account, sender, sender_key, content
        )
        plain = channel.first_event()
    else:
        plain = channel.decrypt(content)
    if part(plain, "type") == "m.room_key":
        InboundMegolmSession.from_room_key(device.account, sender, sender_key, part(plain, "content"))
        tell(f"{device.name} receives a room key from {sender}")


def session_of(device: Device, event: Json) -> InboundMegolmSession:
    """The session that decrypts this event."""
    session_id = part(event, "content", "session_id")
    return InboundMegolmSession.from_storage(device.account, ROOM, session_id, part(event, "sender"))


def receive(server: Homeserver, device: Device) -> list[tuple[str, str]]:
    """Takes an answer to /sync; gives who said what."""
    answer = server.sync(device.user_id, device.device_id)
    for event in items(part(answer, "to_device", "events")):
        try:
            receive_to_device(device, event)
        except E2eeError as error:
            leave_out(device, "a to-device event", error)
    read = []
    for event in items(part(answer, "rooms", "join", ROOM, "timeline", "events")):
        try:
            # A /sync answer leaves the room out of its events.
            plain = session_of(device, event).decrypt({**event, "room_id": ROOM})
        except E2eeError as error:
            leave_out(device, "an event", error)
            continue
        words = part(plain, "content", "body")
        if isinstance(words, str):
            tell(f"{device.name} reads from {event['sender']}: {words}")
            read.append((event["sender"], words))
    # How many keys the server still has, so that the account tops them up.
    try:
        device.account.receive_key_counts(
            part(answer, "device_one_time_keys_count") or {},
            part(answer, "device_unused_fallback_key_types"),
        )
    except E2eeError as error:
        leave_out(device, "the counts of keys", error)
    upload_keys(server, device)
    return read


def refuse(device: Device, event: Json, expected: type[E2eeError]) -> None:
    """Takes an event that the library has to refuse."""
    session = session_of(device, event)
    try:
        session.decrypt(event)
    except expected as error:
        tell(f'refused: {error.name()} ({error.code()}), "{error}"')
    else:
        raise AssertionError("nothing comes out")
