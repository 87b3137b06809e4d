"""What both peers share: one device that speaks Matrix, over one JSON object per line.

A request is {"do": "<method>", ...arguments}; the answer is {"ok": ...} or {"error": "..."}.
The subclass brings the cryptographic library. Nothing here uses libmatrixe2ee.
"""

import json
import sys

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"


class Refused(Exception):
    """This device refuses a message, a key or a signature."""


def canonical(value):
    """Canonical JSON as the specification's appendix defines it."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )


def without_signatures(value):
    return {key: part for key, part in value.items() if key not in ("signatures", "unsigned")}


class Device:
    """One device of one user. The subclass sets `curve25519` and `ed25519`."""

    def __init__(self):
        self.user_id = self.device_id = None
        # Sessions by the other device's identity key, oldest first.
        self.olm = {}
        self.outbound_megolm = {}
        self.inbound_megolm = {}

    # Of the library: what a subclass has to say.

    def new_account(self):
        raise NotImplementedError

    def sign_text(self, text):
        raise NotImplementedError

    def verify_text(self, public_key, text, signature):
        raise NotImplementedError

    # Keys and signatures.

    def do_create(self, user_id, device_id):
        self.user_id, self.device_id = user_id, device_id
        self.new_account()
        return {"curve25519": self.curve25519, "ed25519": self.ed25519}

    def do_sign(self, value):
        """Adds this device's signature to an object."""
        signature = self.sign_text(canonical(without_signatures(value)))
        signed = dict(value)
        signed["signatures"] = {user: dict(s) for user, s in value.get("signatures", {}).items()}
        own = signed["signatures"].setdefault(self.user_id, {})
        own["ed25519:" + self.device_id] = signature
        return signed

    def do_verify(self, value, user_id, key_id, public_key):
        self.check_signature(value, user_id, key_id, public_key)

    def check_signature(self, value, user_id, key_id, public_key):
        try:
            signature = value["signatures"][user_id][key_id]
        except KeyError:
            raise Refused("there is no such signature") from None
        self.verify_text(public_key, canonical(without_signatures(value)), signature)

    def do_device_keys(self):
        return self.do_sign(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {
                    "curve25519:" + self.device_id: self.curve25519,
                    "ed25519:" + self.device_id: self.ed25519,
                },
            }
        )

    def do_one_time_keys(self, count):
        """New one-time keys as /keys/upload wants them: {key ID: signed key}."""
        return {
            "signed_curve25519:" + key_id: self.do_sign({"key": key})
            for key_id, key in self.new_one_time_keys(count).items()
        }

    def do_fallback_key(self):
        return {
            "signed_curve25519:" + key_id: self.do_sign({"key": key, "fallback": True})
            for key_id, key in self.new_fallback_key().items()
        }

    # Olm.

    def do_olm_start(self, device_keys, one_time_key):
        """A session with a device, after checking both signatures as the specification says."""
        user, device = device_keys["user_id"], device_keys["device_id"]
        fingerprint = device_keys["keys"]["ed25519:" + device]
        self.check_signature(device_keys, user, "ed25519:" + device, fingerprint)
        ((key_id, key),) = one_time_key.items()
        if not key_id.startswith("signed_curve25519:"):
            raise Refused("this is no signed one-time key")
        self.check_signature(key, user, "ed25519:" + device, fingerprint)
        identity_key = device_keys["keys"]["curve25519:" + device]
        session = self.outbound_olm(identity_key, key["key"])
        self.olm.setdefault(identity_key, []).append(session)
        return len(self.olm[identity_key])

    def do_olm_encrypt(self, recipient, type, content, change=None, session_id=None):
        """Encrypts an event for {user_id, identity_key, fingerprint}; `change` alters the envelope.

        Without `session_id` the session that started or received last is used.
        """
        envelope = {
            "type": type,
            "content": content,
            "sender": self.user_id,
            "recipient": recipient["user_id"],
            "recipient_keys": {"ed25519": recipient["fingerprint"]},
            "keys": {"ed25519": self.ed25519},
            "sender_device_keys": self.do_device_keys(),
        }
        for key, value in (change or {}).items():
            if value is None:
                del envelope[key]
            else:
                envelope[key] = value
        sessions = [
            session
            for session in self.olm.get(recipient["identity_key"], [])
            if session_id in (None, self.olm_session_id(session))
        ]
        if not sessions:
            raise Refused("there is no session with that device")
        message_type, body = self.encrypt_olm(sessions[-1], json.dumps(envelope))
        return {
            "algorithm": OLM,
            "sender_key": self.curve25519,
            "ciphertext": {recipient["identity_key"]: {"type": message_type, "body": body}},
        }

    def do_olm_decrypt(self, sender, content):
        """Decrypts and checks an Olm message as the specification says; gives the envelope."""
        if content["algorithm"] != OLM:
            raise Refused("another algorithm")
        message = content["ciphertext"][self.curve25519]
        identity_key = content["sender_key"]
        sessions = self.olm.setdefault(identity_key, [])
        text = None
        for session in reversed(sessions):
            text = self.decrypt_olm(session, message["type"], message["body"], identity_key)
            if text is not None:
                sessions.remove(session)
                sessions.append(session)
                break
        if text is None:
            if message["type"] != 0:
                raise Refused("no session decrypts the message")
            session, text = self.inbound_olm(identity_key, message["body"])
            sessions.append(session)
        envelope = json.loads(text)
        if envelope["sender"] != sender:
            raise Refused("the envelope names another sender")
        if envelope["recipient"] != self.user_id:
            raise Refused("the envelope names another recipient")
        if envelope["recipient_keys"]["ed25519"] != self.ed25519:
            raise Refused("the envelope names another recipient key")
        keys = envelope.get("sender_device_keys")
        if keys is not None:
            device = keys["device_id"]
            fingerprint = keys["keys"]["ed25519:" + device]
            self.check_signature(keys, sender, "ed25519:" + device, fingerprint)
            if keys["user_id"] != sender or fingerprint != envelope["keys"]["ed25519"]:
                raise Refused("sender_device_keys is somebody else's")
            if keys["keys"]["curve25519:" + device] != identity_key:
                raise Refused("sender_device_keys has another identity key")
        return envelope

    def do_olm_session_ids(self, identity_key):
        return [self.olm_session_id(session) for session in self.olm.get(identity_key, [])]

    # Megolm.

    def do_megolm_create(self, room_id):
        self.outbound_megolm[room_id] = self.outbound_group()
        return self.do_room_key(room_id)

    def do_room_key(self, room_id):
        """The content of an m.room_key event at the current index."""
        session = self.outbound_megolm[room_id]
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": self.group_id(session),
            "session_key": self.group_key(session),
        }

    def do_megolm_encrypt(self, room_id, type, content, payload_room_id=None):
        session = self.outbound_megolm[room_id]
        payload = json.dumps(
            {"type": type, "content": content, "room_id": payload_room_id or room_id}
        )
        return {
            "algorithm": MEGOLM,
            "sender_key": self.curve25519,
            "device_id": self.device_id,
            "session_id": self.group_id(session),
            "ciphertext": self.encrypt_group(session, payload),
        }

    def do_megolm_receive(self, content):
        """Takes the content of an m.room_key event; gives the first known index."""
        if content["algorithm"] != MEGOLM:
            raise Refused("another algorithm")
        session = self.inbound_group(content["session_key"])
        return self.keep_inbound(content, session)

    def do_megolm_import(self, data):
        """Takes a session as key exports hold them; gives the first known index."""
        return self.keep_inbound(data, self.import_group(data["session_key"]))

    def keep_inbound(self, content, session):
        if self.group_id(session) != content["session_id"]:
            raise Refused("the session ID is not the key's")
        self.inbound_megolm[content["session_id"]] = (content["room_id"], session)
        return self.first_known(session)

    def do_megolm_export(self, session_id, index, sender_key, fingerprint):
        room_id, session = self.inbound_megolm[session_id]
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": session_id,
            "session_key": self.export_group(session, index),
            "sender_key": sender_key,
            "sender_claimed_keys": {"ed25519": fingerprint},
            "forwarding_curve25519_key_chain": [],
        }

    def do_megolm_decrypt(self, content):
        """Gives {"payload", "index"}; checks the room as the specification says."""
        if content["algorithm"] != MEGOLM:
            raise Refused("another algorithm")
        room_id, session = self.inbound_megolm[content["session_id"]]
        text, index = self.decrypt_group(session, content["ciphertext"])
        payload = json.loads(text)
        if payload["room_id"] != room_id:
            raise Refused("the payload names another room")
        return {"payload": payload, "index": index}

    # Pickles.

    def do_pickle_account(self, key):
        return self.pickle_account(bytes.fromhex(key))

    def do_pickle_olm(self, identity_key, key):
        return [self.pickle_olm(session, bytes.fromhex(key)) for session in self.olm[identity_key]]

    def do_pickle_outbound(self, room_id, key):
        return self.pickle_group(self.outbound_megolm[room_id], bytes.fromhex(key))

    def do_pickle_many_inbound(self, room_id, count, key):
        """New rooms' sessions, each pickled after one message: [[session ID, pickle]]."""
        pickles = []
        for _ in range(count):
            outbound = self.outbound_group()
            inbound = self.inbound_group(self.group_key(outbound))
            self.decrypt_group(inbound, self.encrypt_group(outbound, "{}"))
            pickle = self.pickle_group(inbound, bytes.fromhex(key))
            pickles.append([self.group_id(outbound), pickle])
        return pickles

    def do_pickle_inbound(self, session_id, key):
        return self.pickle_group(self.inbound_megolm[session_id][1], bytes.fromhex(key))


def serve(device):
    for line in sys.stdin:
        request = json.loads(line)
        method = getattr(device, "do_" + request.pop("do"))
        try:
            answer = {"ok": method(**request)}
        except Exception as error:  # Whatever the library raises is an answer.
            answer = {"error": type(error).__name__ + ": " + str(error)}
        print(json.dumps(answer), flush=True)
