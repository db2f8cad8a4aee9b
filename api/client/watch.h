// A watch that goes on: it reads the server's change events from a list onwards, connects again
// when the connection breaks or the server restarts, and lists again when its place in history is
// gone (410), giving the difference as events. A store that went back (restored from a backup, or a
// new one) would leave a watch from its future waiting in silence: so after each break a list is
// looked at first. So no change of state is missed; changes in between may be folded into one.
// Works on plain lists and on Tables (then an event's object is a Table of one row). One thread;
// calls block.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/client/api_client.h"
#include "api/client/url.h"

namespace isla::client {

struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted };
  Type type = Type::kAdded;
  json::Value object;
};

std::string_view WatchTypeName(WatchEvent::Type type);  // "ADDED", ...

struct WatchSpec {
  std::string collection;  // path, as Resource::CollectionPath gives it
  std::string label_selector;
  std::string field_selector;
  Parameters parameters;  // more of the query
  bool table = false;
  /// Called once for each outage that lasts longer than a restart of the server does (2 s), with
  /// its cause.
  std::function<void(const std::string& why)> on_outage;
};

class Watch {
 public:
  /// Goes on from `list`, what a GET of the collection with the same selectors answered: its events
  /// aren't given. `api` must outlive the watch.
  Watch(ApiClient& api, WatchSpec spec, const json::Value& list);
  ~Watch();

  /// At least one event. DEADLINE_EXCEEDED: none in time. CANCELLED: interrupted. A broken
  /// connection is not an error, but what the server refuses (Unauthorized, Forbidden, BadRequest)
  /// is.
  StatusOr<std::vector<WatchEvent>> Next(Duration wait);

  /// The list that a watch of `spec` starts from.
  static StatusOr<json::Value> List(ApiClient& api, const WatchSpec& spec);

 private:
  struct Known {
    std::string version;
    json::Value object;  // kept for the event of a deletion that a new list shows
  };

  void Remember(const json::Value& list);
  Status Connect();
  Status Relist(std::vector<WatchEvent>& events);
  void Difference(const json::Value& list, std::vector<WatchEvent>& events);
  bool IsAnotherHistory(const json::Value& list) const;
  Status CheckHistory(std::vector<WatchEvent>& events);
  Status Decode(const std::string& line, std::vector<WatchEvent>& events);
  Status Apply(WatchEvent event, std::vector<WatchEvent>& events);
  StatusOr<std::vector<WatchEvent>> Lines(const std::string& bytes);
  Status Lost(const std::string& why, MonotonicTime deadline);

  ApiClient& api_;
  const WatchSpec spec_;
  std::string version_;
  std::map<std::string, Known> known_;  // by namespace/name
  json::Value columns_;                 // of the Table, repeated in each event
  std::unique_ptr<HttpStream> stream_;
  std::string partial_;
  bool relist_ = false;
  bool check_ = false;  // the connection broke: the store may have gone back
  Duration backoff_{};
  MonotonicTime outage_since_{};  // zero: it is connected
  bool outage_told_ = false;
};

/// The metadata of an object, or of the row of a Table of one row; null if there is none.
const json::Value* MetadataOf(const json::Value& object);

}  // namespace isla::client
