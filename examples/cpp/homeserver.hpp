// What a device asks of a homeserver, and a stand-in for one, inside the program: it answers the
// requests that matter for encryption as a real one does over HTTP, with JSON text in and out, and
// forgets everything at the end. It sees what a real one sees: public keys and ciphertexts.
#ifndef HOMESERVER_HPP
#define HOMESERVER_HPP

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

inline const std::string ROOM = "!room:example.org";

class Homeserver {
 public:
  virtual ~Homeserver() = default;

  /// `POST /keys/upload`, by this device.
  virtual std::string keys_upload(const std::string &user_id, const std::string &device_id,
                                  const std::string &body) = 0;

  /// `POST /keys/query`: `{"device_keys": {"@bob:example.org": []}}`.
  virtual std::string keys_query(const std::string &body) = 0;

  /// `POST /keys/claim`: gives away one key of each device, a fallback key if there is no other.
  virtual std::string keys_claim(const std::string &body) = 0;

  /// `GET /rooms/{room_id}/joined_members`: `{"joined": {"@alice:example.org": {}, ...}}`.
  virtual std::string joined_members() = 0;

  /// `PUT /sendToDevice/{type}`: `{"messages": {"@bob:example.org": {"DEVICE": {...}}}}`.
  virtual void send_to_device(const std::string &user_id, const std::string &event_type,
                              const std::string &body) = 0;

  /// `PUT /rooms/{room_id}/send/{type}`: gives `{"event_id": "$..."}`. There is one room.
  virtual std::string send(const std::string &user_id, const std::string &event_type,
                           const std::string &content) = 0;

  /// `GET /sync`: what is new for this device since it asked last.
  virtual std::string sync(const std::string &user_id, const std::string &device_id) = 0;

  /// `GET /rooms/{room_id}/event/{event_id}`.
  virtual std::string event(const std::string &event_id) = 0;
};

class StandIn : public Homeserver {
 public:
  std::string keys_upload(const std::string &user_id, const std::string &device_id,
                          const std::string &body) override;
  std::string keys_query(const std::string &body) override;
  std::string keys_claim(const std::string &body) override;
  std::string joined_members() override;
  void send_to_device(const std::string &user_id, const std::string &event_type,
                      const std::string &body) override;
  std::string send(const std::string &user_id, const std::string &event_type,
                   const std::string &content) override;
  std::string sync(const std::string &user_id, const std::string &device_id) override;
  std::string event(const std::string &event_id) override;

 private:
  using json = nlohmann::json;

  struct Device {
    json device_keys;
    std::map<std::string, json> one_time_keys, fallback_keys;
    json to_device = json::array();
    std::size_t seen = 0;  // events of the timeline that were handed out

    json key_counts() const;
  };

  std::map<std::pair<std::string, std::string>, Device> devices_;
  std::vector<json> timeline_;
};

#endif
