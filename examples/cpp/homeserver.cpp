#include "homeserver.hpp"

#include <stdexcept>

using json = nlohmann::json;

json StandIn::Device::key_counts() const {
  return {{"signed_curve25519", one_time_keys.size()}};
}

std::string StandIn::keys_upload(const std::string &user_id, const std::string &device_id,
                                 const std::string &body) {
  const json request = json::parse(body);
  Device &device = devices_[{user_id, device_id}];
  if (request.contains("device_keys")) device.device_keys = request["device_keys"];
  const json one_time_keys = request.value("one_time_keys", json::object());
  const json fallback_keys = request.value("fallback_keys", json::object());
  for (const auto &[key_id, key] : one_time_keys.items()) device.one_time_keys[key_id] = key;
  for (const auto &[key_id, key] : fallback_keys.items()) device.fallback_keys[key_id] = key;
  return json{{"one_time_key_counts", device.key_counts()}}.dump();
}

std::string StandIn::keys_query(const std::string &body) {
  const json request = json::parse(body);
  json found = json::object();
  for (const auto &[user_id, ids] : request.at("device_keys").items()) {
    found[user_id] = json::object();
    for (const auto &[owner, device] : devices_) {
      if (owner.first == user_id && !device.device_keys.is_null()) {
        found[user_id][owner.second] = device.device_keys;
      }
    }
  }
  return json{{"device_keys", found}, {"failures", json::object()}}.dump();
}

std::string StandIn::keys_claim(const std::string &body) {
  const json request = json::parse(body);
  json found = json::object();
  for (const auto &[user_id, devices] : request.at("one_time_keys").items()) {
    for (const auto &[device_id, algorithm] : devices.items()) {
      Device &device = devices_[{user_id, device_id}];
      const bool one_time = !device.one_time_keys.empty();
      auto &keys = one_time ? device.one_time_keys : device.fallback_keys;
      if (keys.empty()) continue;
      const auto first = keys.begin();
      found[user_id][device_id] = {{first->first, first->second}};
      if (one_time) keys.erase(first);
    }
  }
  return json{{"one_time_keys", found}, {"failures", json::object()}}.dump();
}

std::string StandIn::joined_members() {
  return R"({"joined": {"@alice:example.org": {}, "@bob:example.org": {}}})";
}

void StandIn::send_to_device(const std::string &user_id, const std::string &event_type,
                             const std::string &body) {
  const json request = json::parse(body);
  for (const auto &[recipient, devices] : request.at("messages").items()) {
    for (const auto &[device_id, content] : devices.items()) {
      devices_[{recipient, device_id}].to_device.push_back(
          {{"sender", user_id}, {"type", event_type}, {"content", content}});
    }
  }
}

std::string StandIn::send(const std::string &user_id, const std::string &event_type,
                          const std::string &content) {
  const std::size_t number = timeline_.size() + 1;
  const std::string event_id = "$event" + std::to_string(number);
  timeline_.push_back({{"event_id", event_id},
                       {"sender", user_id},
                       {"type", event_type},
                       {"origin_server_ts", 1700000000000 + number},
                       {"content", json::parse(content)}});
  return json{{"event_id", event_id}}.dump();
}

std::string StandIn::sync(const std::string &user_id, const std::string &device_id) {
  Device &device = devices_[{user_id, device_id}];
  json events = json::array();
  for (; device.seen < timeline_.size(); ++device.seen) events.push_back(timeline_[device.seen]);
  json types = json::array();
  if (!device.fallback_keys.empty()) types.push_back("signed_curve25519");
  const json answer = {
      {"to_device", {{"events", std::exchange(device.to_device, json::array())}}},
      {"rooms", {{"join", {{ROOM, {{"timeline", {{"events", events}}}}}}}}},
      {"device_one_time_keys_count", device.key_counts()},
      {"device_unused_fallback_key_types", types}};
  return answer.dump();
}

std::string StandIn::event(const std::string &event_id) {
  for (json event : timeline_) {
    if (event["event_id"] != event_id) continue;
    event["room_id"] = ROOM;
    return event.dump();
  }
  throw std::out_of_range(event_id);
}
