"""A stand-in for the homeserver, inside the program: it answers the requests that matter for
encryption as a real one does over HTTP, with what the bodies are in Python, and forgets everything at
the end. It sees what a real one sees: public keys and ciphertexts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

ROOM = "!room:example.org"

Json = dict[str, Any]


class Homeserver(Protocol):
    """What a device asks of its homeserver."""

    def keys_upload(self, user_id: str, device_id: str, body: Json) -> Json:
        """`POST /keys/upload`, by this device."""

    def keys_query(self, body: Json) -> Json:
        """`POST /keys/query`: `{"device_keys": {"@bob:example.org": []}}`."""

    def keys_claim(self, body: Json) -> Json:
        """`POST /keys/claim`: gives away one key of each device, a fallback key if there is no other."""

    def joined_members(self) -> Json:
        """`GET /rooms/{room_id}/joined_members`: `{"joined": {"@bob:example.org": {}}}`."""

    def send_to_device(self, user_id: str, event_type: str, body: Json) -> None:
        """`PUT /sendToDevice/{type}`: `{"messages": {"@bob:example.org": {"DEVICE": {...}}}}`."""

    def send(self, user_id: str, event_type: str, content: Json) -> Json:
        """`PUT /rooms/{room_id}/send/{type}`: gives `{"event_id": "$..."}`. There is one room."""

    def event(self, event_id: str) -> Json:
        """`GET /rooms/{room_id}/event/{event_id}`."""

    def sync(self, user_id: str, device_id: str) -> Json:
        """`GET /sync`: what is new for this device since it asked last."""


@dataclass
class _Device:
    device_keys: Json | None = None
    one_time_keys: Json = field(default_factory=dict)
    fallback_keys: Json = field(default_factory=dict)
    to_device: list[Json] = field(default_factory=list)
    seen: int = 0  # events of the timeline that were handed out

    def key_counts(self) -> Json:
        return {"signed_curve25519": len(self.one_time_keys)}


class StandIn(Homeserver):
    def __init__(self) -> None:
        self._devices: dict[tuple[str, str], _Device] = {}
        self._timeline: list[Json] = []

    def keys_upload(self, user_id: str, device_id: str, body: Json) -> Json:
        device = self._device(user_id, device_id)
        device.device_keys = body.get("device_keys", device.device_keys)
        device.one_time_keys.update(body.get("one_time_keys", {}))
        device.fallback_keys.update(body.get("fallback_keys", {}))
        return {"one_time_key_counts": device.key_counts()}

    def keys_query(self, body: Json) -> Json:
        found: Json = {user_id: {} for user_id in body["device_keys"]}
        for (user_id, device_id), device in self._devices.items():
            if user_id in found and device.device_keys is not None:
                found[user_id][device_id] = device.device_keys
        return {"device_keys": found, "failures": {}}

    def keys_claim(self, body: Json) -> Json:
        found: Json = {}
        for user_id, devices in body["one_time_keys"].items():
            for device_id in devices:
                device = self._device(user_id, device_id)
                if device.one_time_keys:
                    key_id = next(iter(device.one_time_keys))
                    key = {key_id: device.one_time_keys.pop(key_id)}
                else:
                    key = dict(device.fallback_keys)
                if key:
                    found.setdefault(user_id, {})[device_id] = key
        return {"one_time_keys": found, "failures": {}}

    def joined_members(self) -> Json:
        return {"joined": {"@alice:example.org": {}, "@bob:example.org": {}}}

    def send_to_device(self, user_id: str, event_type: str, body: Json) -> None:
        for receiver, devices in body["messages"].items():
            for device_id, content in devices.items():
                event = {"sender": user_id, "type": event_type, "content": content}
                self._device(receiver, device_id).to_device.append(event)

    def send(self, user_id: str, event_type: str, content: Json) -> Json:
        number = len(self._timeline) + 1
        event_id = f"$event{number}"
        self._timeline.append({
            "event_id": event_id,
            "sender": user_id,
            "type": event_type,
            "origin_server_ts": 1_700_000_000_000 + number,
            "content": content,
        })
        return {"event_id": event_id}

    def event(self, event_id: str) -> Json:
        [event] = [event for event in self._timeline if event["event_id"] == event_id]
        return copy.deepcopy({**event, "room_id": ROOM})

    def sync(self, user_id: str, device_id: str) -> Json:
        device = self._device(user_id, device_id)
        to_device, device.to_device = device.to_device, []
        events = copy.deepcopy(self._timeline[device.seen:])
        device.seen = len(self._timeline)
        return {
            "to_device": {"events": to_device},
            "rooms": {"join": {ROOM: {"timeline": {"events": events}}}},
            "device_one_time_keys_count": device.key_counts(),
            "device_unused_fallback_key_types": ["signed_curve25519"] if device.fallback_keys else [],
        }

    def _device(self, user_id: str, device_id: str) -> _Device:
        return self._devices.setdefault((user_id, device_id), _Device())
