"""A peer on PyPI's vodozemac (the Rust library, through its Python bindings)."""

import base64

import vodozemac
from matrix_device import Device, serve


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def from_unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


class VodozemacDevice(Device):
    def new_account(self):
        self.account = vodozemac.Account()
        self.curve25519 = self.account.curve25519_key.to_base64()
        self.ed25519 = self.account.ed25519_key.to_base64()

    def sign_text(self, text):
        return self.account.sign(text.encode()).to_base64()

    def verify_text(self, public_key, text, signature):
        key = vodozemac.Ed25519PublicKey.from_base64(public_key)
        key.verify_signature(text.encode(), vodozemac.Ed25519Signature.from_base64(signature))

    def new_one_time_keys(self, count):
        self.account.generate_one_time_keys(count)
        keys = {key_id: key.to_base64() for key_id, key in self.account.one_time_keys.items()}
        self.account.mark_keys_as_published()
        return keys

    def new_fallback_key(self):
        self.account.generate_fallback_key()
        keys = {key_id: key.to_base64() for key_id, key in self.account.fallback_key.items()}
        self.account.mark_keys_as_published()
        return keys

    def outbound_olm(self, identity_key, one_time_key):
        return self.account.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_base64(identity_key),
            vodozemac.Curve25519PublicKey.from_base64(one_time_key),
        )

    def inbound_olm(self, identity_key, body):
        return self.account.create_inbound_session(
            vodozemac.Curve25519PublicKey.from_base64(identity_key),
            vodozemac.PreKeyMessage.from_base64(body),
        )

    def encrypt_olm(self, session, text):
        message_type, data = session.encrypt(text.encode()).to_parts()
        return message_type, unpadded(data)

    def decrypt_olm(self, session, message_type, body, identity_key):
        message = vodozemac.AnyOlmMessage.from_parts(message_type, from_unpadded(body))
        if message_type == 0:
            matches = session.session_matches(vodozemac.PreKeyMessage.from_base64(body))
            return session.decrypt(message) if matches else None
        try:
            return session.decrypt(message)
        except vodozemac.OlmDecryptionException:
            return None

    def olm_session_id(self, session):
        return session.session_id

    def outbound_group(self):
        return vodozemac.GroupSession()

    def inbound_group(self, key):
        return vodozemac.InboundGroupSession(vodozemac.SessionKey(key))

    def import_group(self, key):
        return vodozemac.InboundGroupSession.import_session(vodozemac.ExportedSessionKey(key))

    def export_group(self, session, index):
        return session.export_at(index).to_base64()

    def group_id(self, session):
        return session.session_id

    def group_key(self, session):
        return session.session_key.to_base64()

    def first_known(self, session):
        return session.first_known_index

    def encrypt_group(self, session, text):
        return session.encrypt(text.encode()).to_base64()

    def decrypt_group(self, session, ciphertext):
        decrypted = session.decrypt(vodozemac.MegolmMessage.from_base64(ciphertext))
        return decrypted.plaintext, decrypted.message_index

    def pickle_account(self, key):
        return self.account.pickle(key)

    def pickle_olm(self, session, key):
        return session.pickle(key)


serve(VodozemacDevice())
