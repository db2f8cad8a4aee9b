#include "api/client/logs.h"

#include "api/client/api_error.h"
#include "api/client/url.h"

namespace isla::client {
namespace {

// A program that never ends its line still gets its output shown.
constexpr size_t kMaxLineBytes = size_t{1} << 20;

std::string Number(int64_t number) { return std::to_string(number); }

}  // namespace

LogReader::LogReader(ApiClient& api, std::string path, LogOptions options)
    : api_(api), path_(std::move(path)), options_(options) {}

LogReader::~LogReader() = default;

Status LogReader::Connect() {
  resumed_ = at_last_time_ > 0;
  to_skip_ = at_last_time_;
  const bool timed = options_.follow || options_.timestamps;
  HttpRequest request;
  request.accept = "text/plain, application/json";
  request.target =
      path_ +
      Query(
          {{"follow", options_.follow ? "true" : ""},
           {"timestamps", timed ? "true" : ""},
           {"tailLines", !resumed_ && options_.tail_lines >= 0 ? Number(options_.tail_lines) : ""},
           {"sinceSeconds",
            !resumed_ && options_.since_seconds > 0 ? Number(options_.since_seconds) : ""}});
  ASSIGN_OR_RETURN(HttpClient::Opened opened, api_.http().Open(request));
  api_.Warn(opened.head.warnings);
  if (!opened.stream) return ErrorOfResponse(opened.head);
  stream_ = std::move(opened.stream);
  partial_.clear();
  searched_ = 0;
  return OkStatus();
}

StatusOr<std::string> LogReader::Next(Duration wait) {
  if (!stream_) RETURN_IF_ERROR(Connect());
  const MonotonicTime deadline = Clock::Real().Monotonic() + wait;
  for (;;) {
    auto bytes = stream_->Read(deadline - Clock::Real().Monotonic());
    if (!bytes.ok()) {
      // Half a line is not given: it comes again, whole, on the next connection.
      if (bytes.status().code() == Code::kUnavailable) stream_.reset();
      return bytes.status();
    }
    const bool end = bytes->empty();
    partial_ += *bytes;
    std::string out = TakeLines(end);
    if (!out.empty()) return out;
    if (end) {
      stream_.reset();
      return std::string();
    }
  }
}

std::string LogReader::TakeLines(bool all) {
  if (!options_.follow)
    return std::exchange(partial_, std::string());  // nothing to skip, nothing to strip
  std::string out;
  size_t start = 0;
  for (size_t end; (end = partial_.find('\n', searched_)) != std::string::npos; searched_ = start = end + 1) {
    TakeLine(std::string_view(partial_).substr(start, end + 1 - start), out);
  }
  partial_.erase(0, start);
  searched_ = partial_.size();
  if (!partial_.empty() && (all || partial_.size() > kMaxLineBytes)) {
    searched_ = 0;
    TakeLine(std::exchange(partial_, {}), out);
  }
  return out;
}

void LogReader::TakeLine(std::string_view line, std::string& out) {
  const size_t space = line.find(' ');
  const auto time = ParseRfc3339(line.substr(0, space));
  if (!time.ok() || space == std::string_view::npos) {
    out += line;  // not a line of the log: a message of the server's
    return;
  }
  if (resumed_) {
    if (*time < last_time_) return;
    if (*time == last_time_ && to_skip_ > 0) {
      --to_skip_;
      return;
    }
  }
  if (*time == last_time_) {
    ++at_last_time_;
  } else {
    last_time_ = *time;
    at_last_time_ = 1;
  }
  out += options_.timestamps ? line : line.substr(space + 1);
}

}  // namespace isla::client
