"""Alice and Bob talk in an encrypted room, each with one device (device.py) on one SQLite file. The
homeserver is a stand-in inside this program (homeserver.py). The other folders of examples/ have the
same program in other languages, line by line.

    pip install matrixe2ee && python alice_and_bob.py

The program checks each answer, and ends with an exception if anything is not as it should be."""

from __future__ import annotations

import itertools
import os
import tempfile
from typing import Any

import matrixe2ee
from device import (
    Device,
    channel_to,
    close_device,
    open_device,
    query_devices,
    receive,
    refuse,
    say,
    tell,
    upload_keys,
)
from homeserver import StandIn
from matrixe2ee import Account, E2eeError, OlmChannel, Store

numbers = itertools.count(1)

OLM, MEGOLM = "m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"
NO_MESSAGES: list[Any] = [
    {},
    {"algorithm": OLM, "sender_key": None, "ciphertext": {}},
    {"algorithm": OLM, "sender_key": "AAAA", "ciphertext": [1]},
    {"algorithm": MEGOLM, "session_id": 5, "ciphertext": None},
    {"algorithm": MEGOLM, "session_id": "AAAA", "ciphertext": "AAAA"},
]


def step(what: str) -> None:
    print(f"\n{next(numbers)}. {what}")


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def new_device(folder: str, name: str, user_id: str, device_id: str) -> Device:
    return Device(name, user_id, device_id, f"{folder}/{name}.sqlite", os.urandom(32))


def main(folder: str) -> None:
    print(f"matrixe2ee {matrixe2ee.version()}, from Python")
    server = StandIn()
    alice = new_device(folder, "Alice", "@alice:example.org", "ALICEPHONE")
    bob = new_device(folder, "Bob", "@bob:example.org", "BOBPHONE")

    step("Both make an account and upload its public keys")
    open_device(alice)
    open_device(bob)
    upload_keys(server, alice)
    upload_keys(server, bob)

    step("Alice writes to the room; Bob reads")
    first = (alice.user_id, "Hello Bob!")
    second = (alice.user_id, "Can you read this?")
    say(server, alice, first[1])
    second_id = say(server, alice, second[1])
    check(receive(server, bob) == [first, second], "it is what was said")

    step("Both programs end, and start again from their files")
    close_device(alice)
    close_device(bob)
    open_device(alice)
    open_device(bob)

    step("Bob answers in a session of his own; Alice goes on in hers")
    third = (bob.user_id, "Yes, every word.")
    fourth = (alice.user_id, "Even after a restart.")
    say(server, bob, third[1])
    fourth_id = say(server, alice, fourth[1])
    check(receive(server, alice) == [first, second, third, fourth], "it is what was said")
    check(receive(server, bob) == [third, fourth], "it is what was said")

    step("Somebody changes one letter of a ciphertext")
    tampered = server.event(fourth_id)
    ciphertext = tampered["content"]["ciphertext"]
    letter = "B" if ciphertext[20] == "A" else "A"
    tampered["content"]["ciphertext"] = ciphertext[:20] + letter + ciphertext[21:]
    refuse(bob, tampered, E2eeError.UnableToDecrypt)

    step("The server delivers an old message again, as a new event")
    replayed = server.event(second_id)
    replayed["event_id"] = "$another"
    refuse(bob, replayed, E2eeError.Replay)

    step("The server delivers to Bob's laptop what was meant for his phone")
    laptop = new_device(folder, "Bob's laptop", bob.user_id, "BOBLAPTOP")
    laptop.store = Store.in_memory(laptop.store_key)
    laptop.account = Account.open(laptop.store, laptop.user_id, laptop.device_id)
    devices = query_devices(server)
    channel = channel_to(server, alice, devices[bob.user_id][bob.device_id])
    for_phone = channel.encrypt("m.dummy", {})
    alice_key = alice.account.identity_key()
    try:
        OlmChannel.create_from_encrypted_message(
            laptop.account, alice.user_id, alice_key, for_phone
        )
    except E2eeError.NotEncryptedForUs as error:
        tell(f'refused: {error.name()} ({error.code()}), "{error}"')
    else:
        raise AssertionError("nothing comes out")
    close_device(laptop)

    step("A stranger sends what is no message; Bob's program goes on")
    for content in NO_MESSAGES:
        body = {"messages": {bob.user_id: {bob.device_id: content}}}
        server.send_to_device("@mallory:example.org", "m.room.encrypted", body)
        server.send("@mallory:example.org", "m.room.encrypted", content)
    say(server, alice, "Still there?")
    check(receive(server, bob) == [(alice.user_id, "Still there?")], "it is what was said")

    print("\nAll is as it should be.")
    close_device(alice)
    close_device(bob)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
