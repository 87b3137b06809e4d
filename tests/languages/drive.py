#!/usr/bin/env python3
"""One encrypted room with a device in each language: Alice in Python, Bob in Kotlin, Carol in C and
Dave in Swift, each a process of its own with its own SQLite store. This program is their homeserver
and tells them what to do, in lines of JSON through their pipes.

    drive.py NAME=COMMAND...        the members that take part, for example alice=tests/languages/member_python.sh
"""

import json
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "python"))
from homeserver import ROOM, StandIn  # noqa: E402

# A member that takes longer to answer hangs.
DEADLINE_S = 60


OLM, MEGOLM = "m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"
# What a stranger or a server out of its mind puts between the events: nobody loses a message over it.
VALUES = [None, True, 5, -1, 1.5, "", "text", [], [None], {}, {"a": {}}]
CONTENTS = [
    *VALUES,
    *({"algorithm": OLM, "sender_key": value, "ciphertext": value} for value in VALUES),
    *({"algorithm": OLM, "sender_key": "A" * 43, "ciphertext": value} for value in VALUES),
    *({"algorithm": MEGOLM, "session_id": value, "ciphertext": value} for value in VALUES),
    *({"algorithm": value} for value in VALUES),
]
NO_EVENTS = [
    *VALUES,
    *({"sender": value, "type": "m.room.encrypted", "content": value} for value in VALUES),
    *({"sender": "@mallory:example.org", "type": "m.room.encrypted", "content": content, "event_id": "$no"}
      for content in CONTENTS),
]


SYNC_PARTS = [("to_device",), ("to_device", "events"), ("rooms",), ("rooms", "join"),
              ("rooms", "join", ROOM, "timeline"), ("device_one_time_keys_count",),
              ("device_unused_fallback_key_types",)]


def enumerated(values):
    return {f"NO{number}": value for number, value in enumerate(values)}


# Users of whom the server lists what is no devices.
NO_DEVICES = {f"@no{number}:example.org": value for number, value in enumerate([*VALUES, enumerated(VALUES)])}


def among_nonsense(answer):
    """A sync answer with such events before, between and behind those that are there."""
    for part in (answer["to_device"], answer["rooms"]["join"][ROOM]["timeline"]):
        events = [other for event in part["events"] for other in (event, NO_EVENTS[-1])]
        part["events"] = [*NO_EVENTS, *events, *NO_EVENTS]
    return answer


def with_part(answer, names, value):
    """A sync answer that has something else in this place."""
    *outer, last = names
    place = answer
    for name in outer:
        place = place[name]
    place[last] = value
    return answer


class Homeserver(StandIn):
    """The example's, for any members."""

    def __init__(self, members):
        super().__init__()
        self.members = members
        self.spoil = lambda answer: answer
        self.spoil_devices = False

    def joined_members(self):
        nobody = NO_DEVICES if self.spoil_devices else {}
        return {"joined": {user_id: {} for user_id in [*self.members, *nobody]}}

    def keys_query(self, body):
        answer = super().keys_query(body)
        if self.spoil_devices:
            for devices in answer["device_keys"].values():
                good = next(iter(devices.values()), {})
                # Also one that calls itself what another is.
                devices.update(enumerated([*VALUES, good, {"user_id": 5, "device_id": None}]))
            answer["device_keys"].update(NO_DEVICES)
        return answer

    def sync(self, user_id, device_id):
        return self.spoil(super().sync(user_id, device_id))


class Member:
    """A device in a process of its own."""

    def __init__(self, name, command, server, folder):
        self.name, self.server = name, server
        self.user_id = f"@{name}:example.org"
        store = pathlib.Path(folder) / f"{name}.sqlite"
        self.process = subprocess.Popen(
            [command, name, self.user_id, name.upper(), str(store), secrets.token_hex(32)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )

    def write(self, value):
        self.process.stdin.write(json.dumps(value) + "\n")

    def read(self):
        timer = threading.Timer(DEADLINE_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            raise SystemExit(f"FAILED: {self.name} ended, status {self.process.wait()}")
        return json.loads(line)

    def do(self, what, **more):
        """Gives a command, answers what the member asks the server, gives its last line."""
        self.write({"do": what, **more})
        while True:
            line = self.read()
            if "failed" in line:
                raise SystemExit(f"FAILED: {self.name}: {what}: {line['failed']}")
            if "done" in line:
                return line
            # What answers nothing answers an empty object.
            self.write(getattr(self.server, line.pop("ask"))(**line) or {})


def everybody_reads(members, said):
    """Each member has to read all that was said since it last looked, in order, its own words, too."""
    for member in members:
        read = [(line["sender"], line["words"]) for line in member.do("receive")["read"]]
        if read != said:
            raise SystemExit(f"FAILED: {member.name} read {read}, and not {said}")
        print(f"ok      {member.name} reads {len(read)} messages")


def everybody_speaks(members, words):
    said = []
    for member in members:
        text = words.format(member.name)
        member.do("say", words=text)
        said.append((member.user_id, text))
    return said


def main():
    names = dict(argument.split("=", 1) for argument in sys.argv[1:])
    server = Homeserver([f"@{name}:example.org" for name in names])
    with tempfile.TemporaryDirectory(dir=".cache") as folder:
        folder = pathlib.Path(folder).absolute()
        members = [Member(name, command, server, folder) for name, command in names.items()]
        for member in members:
            member.do("open")

        # Nobody has a channel or a session yet: each makes them to all others.
        everybody_reads(members, everybody_speaks(members, "Hello, this is {}. Grüße! \u2764"))
        # Over the channels and sessions that are there now, in the other order.
        members.reverse()
        everybody_reads(members, everybody_speaks(members, "{} again"))
        # Among what is no device, from now on: whoever is gone would end the sessions.
        server.spoil_devices = True
        everybody_reads(members, everybody_speaks(members, "{}, whoever is listed"))
        # Among what is no event.
        server.spoil = among_nonsense
        everybody_reads(members, everybody_speaks(members, "{}, in spite of all"))
        for names in SYNC_PARTS:
            for value in VALUES:
                server.spoil = lambda answer, names=names, value=value: with_part(answer, names, value)
                for member in members:
                    member.do("receive")
        print("ok      nobody ends over an answer that is none")
        server.spoil = lambda answer: answer
        # From what is stored.
        for member in members:
            member.do("restart")
        said = everybody_speaks(members, "{} has restarted")
        # More than one block of reserved indices, before anybody looks.
        for number in range(40):
            text = f"message {number}"
            members[0].do("say", words=text)
            said.append((members[0].user_id, text))
        everybody_reads(members, said)

        for member in members:
            member.do("end")
            if member.process.wait(DEADLINE_S) != 0:
                raise SystemExit(f"FAILED: {member.name} ended with {member.process.returncode}")
    print(f"{len(members)} languages in one room: all is as it should be.")


if __name__ == "__main__":
    main()
