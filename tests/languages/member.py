"""A member of the room of run.sh: a device (examples/python/device.py) whose homeserver is the program
that started this one, asked over stdout and answering over stdin, with one JSON object a line."""

import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "python"))

import device as devices  # noqa: E402
from device import Device, close_device, open_device, receive, say, upload_keys  # noqa: E402
from homeserver import Homeserver  # noqa: E402
from matrixe2ee import E2eeError  # noqa: E402

Json = dict[str, Any]


def write(line: Json) -> None:
    print(json.dumps(line), flush=True)


def read() -> Json:
    line: Json = json.loads(sys.stdin.readline())
    return line


class Starter(Homeserver):
    def _ask(self, name: str, **arguments: Any) -> Json:
        write({"ask": name, **arguments})
        return read()

    def keys_upload(self, user_id: str, device_id: str, body: Json) -> Json:
        return self._ask("keys_upload", user_id=user_id, device_id=device_id, body=body)

    def keys_query(self, body: Json) -> Json:
        return self._ask("keys_query", body=body)

    def keys_claim(self, body: Json) -> Json:
        return self._ask("keys_claim", body=body)

    def joined_members(self) -> Json:
        return self._ask("joined_members")

    def send_to_device(self, user_id: str, event_type: str, body: Json) -> None:
        self._ask("send_to_device", user_id=user_id, event_type=event_type, body=body)

    def send(self, user_id: str, event_type: str, content: Json) -> Json:
        return self._ask("send", user_id=user_id, event_type=event_type, content=content)

    def event(self, event_id: str) -> Json:
        return self._ask("event", event_id=event_id)

    def sync(self, user_id: str, device_id: str) -> Json:
        return self._ask("sync", user_id=user_id, device_id=device_id)


def obey(command: Json, server: Homeserver, device: Device) -> Json:
    match command["do"]:
        case "open":
            open_device(device)
            upload_keys(server, device)
        case "say":
            return {"event_id": say(server, device, command["words"])}
        case "receive":
            read = receive(server, device)
            return {"read": [{"sender": sender, "words": words} for sender, words in read]}
        case "restart":
            close_device(device)
            open_device(device)
        case "end":
            close_device(device)
        case other:
            raise ValueError(f"no command: {other}")
    return {}


def main() -> None:
    name, user_id, device_id, path, key = sys.argv[1:]
    device = Device(name, user_id, device_id, path, bytes.fromhex(key))
    # stdout belongs to the protocol.
    devices.tell = lambda line: print(line, file=sys.stderr)
    server = Starter()
    command: Json = {}
    while command.get("do") != "end":
        command = read()
        try:
            done = obey(command, server, device)
        except E2eeError as error:
            write({"failed": f"{error.name()}: {error}"})
        except Exception as error:
            write({"failed": repr(error)})
        else:
            write({"done": True, **done})


main()
