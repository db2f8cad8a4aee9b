// The bodies that go on: a watch as lines of JSON, a log as text.
#pragma once

#include <memory>
#include <optional>

#include "api/base/clock.h"
#include "api/registry/registry.h"
#include "api/server/http.h"
#include "api/server/log_source.h"
#include "api/server/representation.h"

namespace isla::server {

struct WatchStreamOptions {
  Representation how;
  store::Revision revision = 0;               // where it begins: all up to here is known
  std::optional<Duration> timeout;            // then it ends; nothing = never
  std::optional<Duration> bookmark_interval;  // nothing = no bookmarks
};

/// `clock` must outlive the stream.
std::unique_ptr<BodyStream> MakeWatchStream(std::unique_ptr<registry::ObjectWatch> watch, const api::Kind& kind,
                                            const WatchStreamOptions& options, const Clock& clock);
/// One ERROR event, then the end: how a watch that can't begin is answered.
std::unique_ptr<BodyStream> MakeErrorStream(const Status& status, const api::Kind& kind);
std::unique_ptr<BodyStream> MakeLogStream(std::unique_ptr<LogStream> log);

}  // namespace isla::server
