// Where the logs of sessions come from: the server's side of
// GET /apis/isla/v1/namespaces/NS/sessions/NAME/log, which islad's main fills with the gateway.
//
// The server pulls, so that back pressure goes from the client's socket to the node: it calls Next only when
// the client has taken what it was given before. A source keeps a bounded queue a stream, and asks the node
// for more when the queue is drained.
// Threads: Open is called from the server's workers, several at once. A stream's Next, Notify and destructor
// are called from one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/base/status.h"
#include "api/registry/registry.h"

namespace isla::server {

struct LogRequest {
  std::string ns;
  std::string session;
  registry::ObjectPtr object;  // the session as it was just read from the store, with its status
  std::string container;       // "" = the only one, or "main"
  bool follow = false;         // go on until the container ends
  bool timestamps = false;     // each line begins with its time and a space
  std::optional<int64_t> tail_lines;     // from so many lines before the end; >= 0
  std::optional<int64_t> since_seconds;  // lines not older than this; > 0
};

/// One log on its way to one client. The destructor ends it (the client went, or all was delivered) and must
/// return soon; it may come at any time.
class LogStream {
 public:
  virtual ~LogStream() = default;
  /// More bytes of the log, never empty, at best below 256 KiB. Never blocks. DEADLINE_EXCEEDED: nothing yet,
  /// `ready` will be called. OUT_OF_RANGE: the log's end. Anything else: it broke off (the client sees its
  /// connection end without the last chunk).
  virtual StatusOr<std::string> Next() = 0;
  /// `ready` is called, from any thread, each time that Next, after DEADLINE_EXCEEDED, has something else to
  /// say. It returns at once. Set once, before the first Next.
  virtual void Notify(std::function<void()> ready) = 0;
};

class LogSource {
 public:
  virtual ~LogSource() = default;
  /// Starts a stream; may block for a few seconds. NOT_FOUND: no such container, or its log is gone.
  /// FAILED_PRECONDITION: it hasn't been started yet (the client sees 400, as from Kubernetes; with `follow`
  /// a source may also return a stream that waits for the start). UNAVAILABLE: its node isn't connected.
  virtual StatusOr<std::unique_ptr<LogStream>> Open(const LogRequest& request) = 0;
};

}  // namespace isla::server
