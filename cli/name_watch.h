// One object, followed by its name until it is what the caller waits for. Survives restarts of the
// server.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/client/watch.h"
#include "cli/context.h"

namespace isla::cli {

inline constexpr Duration kForever = std::chrono::hours(24 * 365 * 10);

/// "Warning: ...; trying again until it is back".
void TellOutage(Context& context, const std::string& why);

class NameWatch {
 public:
  /// The object as it is now; it may be missing (object() is null then).
  static StatusOr<NameWatch> Open(Context& context, const client::Resource& resource,
                                  const std::string& ns, const std::string& name);
  /// From an object that a write has just returned: no round trip.
  static NameWatch From(Context& context, const client::Resource& resource, const std::string& ns,
                        json::Value object);

  /// Its last known state; null if it doesn't exist. Another object of the same name counts as
  /// missing once one with a uid has been seen.
  const json::Value* object() const { return object_ ? &*object_ : nullptr; }
  /// Until something changes. DEADLINE_EXCEEDED, CANCELLED, or what the server refuses.
  Status Next(Duration wait);

 private:
  NameWatch(Context& context, client::ApiClient& api, const client::WatchSpec& spec,
            const json::Value& list);
  void See(const json::Value& object);

  std::string uid_;
  std::optional<json::Value> object_;
  std::unique_ptr<client::Watch> watch_;
};

// A session's state, read leniently: what isn't there is "".
std::string PhaseOf(const json::Value& object);
/// Succeeded, Failed, Cancelled.
bool IsFinal(const std::string& phase);
/// It has been started, or never will be: there may be output.
bool HasStarted(const json::Value& object);
/// Why it isn't running yet: "Scheduled=False Unschedulable: no node has ..."; "" if it doesn't
/// say.
std::string PendingReason(const json::Value& object);
/// The condition of that type (any letter case); null if there is none.
const json::Value* ConditionOf(const json::Value& object, std::string_view type);

}  // namespace isla::cli
