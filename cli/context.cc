#include "cli/context.h"

#include "cli/error_text.h"

namespace isla::cli {

Context::Context(Io& io, const Options& options) : io_(io), options_(options) {}
Context::~Context() = default;

StatusOr<client::ApiClient*> Context::Api() {
  if (api_) return api_.get();
  const auto env = [this](const std::string& name) { return io_.Env(name); };
  ASSIGN_OR_RETURN(client::Connection connection,
                   client::ResolveConnection(options_.connection, env));
  ns_ = options_.ns.empty() ? connection.ns : options_.ns;
  server_ = connection.endpoint.Shown();
  if (options_.verbosity >= 6) {
    Trace(6, fmt::format("server {} (from {}), namespace {}", server_, connection.source, ns_));
  }
  client::HttpOptions http;
  http.request_timeout = options_.request_timeout;
  http.interrupt_fd = io_.interrupt_fd();
  if (options_.verbosity >= 6) {
    http.trace = [this](int level, const std::string& line) { Trace(level, line); };
  }
  http_ = client::MakeHttpClient(std::move(connection.endpoint), std::move(http));
  api_ = std::make_unique<client::ApiClient>(
      *http_, [this](const std::string& text) { io_.Err("Warning: " + Printable(text) + "\n"); });
  return api_.get();
}

void Context::Trace(int level, const std::string& line) {
  if (level > options_.verbosity) return;
  io_.Err(fmt::format("{} {}\n", FormatRfc3339(Clock::Real().Wall(), 6), Printable(line)));
}

int Context::Fail(const Status& status) {
  io_.Flush();
  io_.Err(ErrorText(status, server_));
  return FailureCode(options_.command);
}

int Context::FailText(std::string_view text) {
  io_.Flush();
  io_.Err(fmt::format("error: {}\n", text));
  return FailureCode(options_.command);
}

}  // namespace isla::cli
