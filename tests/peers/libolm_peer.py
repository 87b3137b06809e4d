"""A peer on libolm (the C library, through python-olm)."""

import olm
from matrix_device import Device, serve


class LibolmDevice(Device):
    def new_account(self):
        self.account = olm.Account()
        self.curve25519 = self.account.identity_keys["curve25519"]
        self.ed25519 = self.account.identity_keys["ed25519"]

    def sign_text(self, text):
        return self.account.sign(text)

    def verify_text(self, public_key, text, signature):
        olm.ed25519_verify(public_key, text, signature)

    def new_one_time_keys(self, count):
        self.account.generate_one_time_keys(count)
        keys = dict(self.account.one_time_keys["curve25519"])
        self.account.mark_keys_as_published()
        return keys

    def new_fallback_key(self):
        self.account.generate_fallback_key()
        keys = dict(self.account.fallback_key["curve25519"])
        self.account.mark_keys_as_published()
        return keys

    def outbound_olm(self, identity_key, one_time_key):
        return olm.OutboundSession(self.account, identity_key, one_time_key)

    def inbound_olm(self, identity_key, body):
        message = olm.OlmPreKeyMessage(body)
        session = olm.InboundSession(self.account, message, identity_key)
        text = session.decrypt(message)
        self.account.remove_one_time_keys(session)
        return session, text

    def encrypt_olm(self, session, text):
        message = session.encrypt(text)
        return message.message_type, message.ciphertext

    def decrypt_olm(self, session, message_type, body, identity_key):
        if message_type == 0:
            message = olm.OlmPreKeyMessage(body)
            return session.decrypt(message) if session.matches(message, identity_key) else None
        try:
            return session.decrypt(olm.OlmMessage(body))
        except olm.OlmSessionError:
            return None

    def olm_session_id(self, session):
        return session.id

    def outbound_group(self):
        return olm.OutboundGroupSession()

    def inbound_group(self, key):
        return olm.InboundGroupSession(key)

    def import_group(self, key):
        return olm.InboundGroupSession.import_session(key)

    def export_group(self, session, index):
        return session.export_session(index)

    def group_id(self, session):
        return session.id

    def group_key(self, session):
        return session.session_key

    def first_known(self, session):
        return session.first_known_index

    def encrypt_group(self, session, text):
        return session.encrypt(text)

    def decrypt_group(self, session, ciphertext):
        return session.decrypt(ciphertext)

    def pickle_account(self, key):
        return self.account.pickle(key.decode()).decode()

    def pickle_olm(self, session, key):
        return session.pickle(key.decode()).decode()

    def pickle_group(self, session, key):
        return session.pickle(key.decode()).decode()


if __name__ == "__main__":
    serve(LibolmDevice())
