"""Two bots that write to each other: what the tests of a store let them do."""

import itertools
import os

from matrixe2ee import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
)

ROOM = "!room:example.org"
event_numbers = itertools.count(1)


class Bot:
    """One device. `open_backend` gives its store backend, each time it is started."""

    def __init__(self, name, open_backend):
        self.user_id, self.device_id = f"@{name}:example.org", name.upper()
        self.key, self.open_backend = os.urandom(32), open_backend
        self.start()

    def start(self):
        self.backend = self.open_backend()
        self.store = Store.foreign(self.backend, self.key)
        self.account = Account.open(self.store, self.user_id, self.device_id)

    def stop(self):
        try:
            self.store.shut_down()
        finally:
            self.backend.close()

    def restart(self):
        self.stop()
        self.start()

    def channel_to(self, other):
        """The stored channel, or a new one with a one-time key of the other bot's."""
        try:
            return OlmChannel.create_from_storage(
                self.account, other.user_id, other.account.identity_key()
            )
        except E2eeError.NotFound:
            return OlmChannel.create_outbound_channel(
                self.account, other.account.device_keys(), other.one_time_key()
            )

    def one_time_key(self):
        upload = self.account.keys_upload_request()
        if upload is None:  # the server has used them all up
            self.account.receive_key_counts({})
            upload = self.account.keys_upload_request()
        self.account.receive_keys_upload_response(
            200, {"one_time_key_counts": {"signed_curve25519": len(upload["one_time_keys"])}}
        )
        return dict([upload["one_time_keys"].popitem()])

    def tell(self, other, event_type, content):
        """Sends an event over the channel; what arrives, as the other bot decrypts it."""
        encrypted = self.channel_to(other).encrypt(event_type, content)
        return other.hear(self, encrypted)

    def hear(self, other, encrypted):
        sender = other.user_id, other.account.identity_key()
        try:
            return OlmChannel.create_from_storage(self.account, *sender).decrypt(encrypted)
        except E2eeError.NotFound:
            return OlmChannel.create_from_encrypted_message(
                self.account, *sender, encrypted
            ).first_event()

    def room_session(self, room=ROOM):
        try:
            return OutboundMegolmSession.create_from_storage(self.account, room)
        except E2eeError.NotFound:
            return OutboundMegolmSession.create(self.account, room)

    def say(self, words, other):
        """An encrypted room event; the other bot gets the room key if it has not had it."""
        session = self.room_session()
        devices = {other.user_id: {other.device_id: other.account.device_keys()}}
        for item in session.get_session_key_for_sending({
            "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
            "members": {self.user_id: "join", other.user_id: "join"},
            "device_keys": devices,
        }):
            room_key = self.tell(other, "m.room_key", item["content"])["content"]
            sender = self.user_id, self.account.identity_key()
            InboundMegolmSession.from_room_key(other.account, *sender, room_key)
            session.mark_as_sent([item["device"]])
        content = session.encrypt("m.room.message", {"msgtype": "m.text", "body": words})
        return {
            "event_id": f"$event{next(event_numbers)}",
            "sender": self.user_id,
            "room_id": ROOM,
            "content": content,
        }

    def read(self, event):
        """The words of a room event, and the index of the message key that they were encrypted with."""
        session = InboundMegolmSession.from_storage(
            self.account, ROOM, event["content"]["session_id"], event["sender"]
        )
        plain = session.decrypt(event)
        return plain["content"]["body"], plain["matrixe2ee"]["message_index"]
