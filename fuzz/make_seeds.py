#!/usr/bin/env python3
"""Makes fuzz/seeds from tests/fixtures: one small file for each thing that real clients sent."""

import json
import pathlib

root = pathlib.Path(__file__).resolve().parent
fixtures = root.parent / "tests" / "fixtures"


def fixture(name):
    return json.loads((fixtures / f"{name}.json").read_text())


def seeds(target, values, most=12):
    """Different ones only, the short ones first: the fuzzer is faster with those."""
    folder = root / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    texts = {json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in values}
    for number, text in enumerate(sorted(texts, key=lambda text: (len(text), text))[:most]):
        (folder / f"{number:02}.json").write_text(text)


def bytes_seeds(target, values):
    folder = root / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        (folder / f"{number:02}.bin").write_bytes(value)


def inside(value, name):
    """All values of that name, at any depth."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for member in value.values():
            yield from inside(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item, name)


def device_keys():
    for users in inside(fixture("keys_query"), "device_keys"):
        if isinstance(users, dict):
            for devices in users.values():
                if isinstance(devices, dict):
                    yield from (keys for keys in devices.values() if isinstance(keys, dict))


events = fixture("megolm_events")
room_events = [
    {**line["event"], "room_id": line["exported_session"]["room_id"]}
    for line in events if line.get("exported_session")
]
olm = fixture("olm_inbound")["events"]
claims = fixture("keys_claim")
pairs = [[one, other] for line in claims for one in inside(line, "request")
         for other in inside(line, "response")] or claims

seeds("canonical_json", [*device_keys(), *room_events, {"z": [1, -9007199254740991, "é\n\u2028", None, True]}])
seeds("device_keys", device_keys())
seeds("claim_answers", pairs)
seeds("olm_content", [line["plaintext"] for line in olm])
seeds("megolm_events", room_events)
seeds("room_keys", [line["plaintext"]["content"] for line in olm
                    if "session_key" in line["plaintext"].get("content", {})])
seeds("exported_sessions", inside(events, "exported_session"))
# Changes are read from bytes: a few, and many.
for target in ("device_keys", "claim_answers", "olm_content", "megolm_events", "room_keys",
               "exported_sessions", "store_files", "c_calls"):
    bytes_seeds(target, [bytes([1] + [step * i % 251 for i in range(length)])
                         for step, length in ((7, 40), (31, 200), (113, 1000))])
