// The output of a session, followed to its end through restarts of the server. Used by logs and
// run.
#pragma once

#include <functional>
#include <string>

#include "api/base/status.h"
#include "api/client/api_client.h"
#include "api/client/logs.h"
#include "cli/context.h"
#include "cli/name_watch.h"

namespace isla::cli {

/// Where the log of an object is.
std::string LogPath(const client::Resource& resource, const std::string& ns,
                    const std::string& name);

struct FollowTarget {
  client::Resource resource;
  std::string ns;
  std::string name;
};

class Follower {
 public:
  /// `context` must outlive it.
  Follower(Context& context, client::ApiClient& api, FollowTarget target,
           client::LogOptions options);

  /// Prints what comes until the session has ended and all its output is printed. CANCELLED:
  /// interrupted, may be called again and goes on. NOT_FOUND: the session is gone before anything
  /// was printed.
  Status Run();

 private:
  enum class State { kWaiting, kRunning, kEnded };
  StatusOr<State> Look();
  Status OnError(const Status& error);
  Status OnEnd(bool& done);
  Status AwaitStart();

  Context& context_;
  client::ApiClient& api_;
  const FollowTarget target_;
  client::LogReader reader_;
  bool printed_ = false;
  bool ended_ = false;  // seen ended while the log was silent
  bool told_ = false;
  Duration backoff_{};
  MonotonicTime trouble_since_{};
};

}  // namespace isla::cli
