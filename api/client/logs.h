// The output of a session, line by line, that goes on after a broken connection where it stopped.
//
// While following, lines are always asked for with their times, which tell where to go on: the log
// is read again from its start and skipped up to the last line that was given (the API's
// sinceSeconds would compare the clocks of three machines). A line is lost or doubled only if the
// node's clock went backwards meanwhile. One thread; calls block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/client/api_client.h"

namespace isla::client {

struct LogOptions {
  bool follow = false;
  bool timestamps = false;    // in the text that is returned
  int64_t tail_lines = -1;    // -1 = all
  int64_t since_seconds = 0;  // 0 = all
};

class LogReader {
 public:
  /// `path` of the log ("/apis/isla/v1/namespaces/NS/sessions/NAME/log"). `api` must outlive the
  /// reader.
  LogReader(ApiClient& api, std::string path, LogOptions options);
  ~LogReader();

  /// Text of the log, whole lines (but the last of all); "" = the end of the body. Connects if it
  /// isn't connected. DEADLINE_EXCEEDED: nothing within `wait`. UNAVAILABLE: the connection broke
  /// or can't be made. After "" or an error, the next call connects again and goes on behind the
  /// last line given.
  StatusOr<std::string> Next(Duration wait);

 private:
  Status Connect();
  std::string TakeLines(bool all);
  void TakeLine(std::string_view line, std::string& out);

  ApiClient& api_;
  const std::string path_;
  const LogOptions options_;
  std::unique_ptr<HttpStream> stream_;
  std::string partial_;
  size_t searched_ = 0;  // so much of it has no end of line
  bool resumed_ = false;       // this connection began at the start of the log again
  WallTime last_time_{};       // of the last line given
  uint64_t at_last_time_ = 0;  // lines given with that time
  uint64_t to_skip_ = 0;       // of those, still to come on this connection
};

}  // namespace isla::client
