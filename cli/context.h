// What the commands share: the streams, the flags, and one connection to the server, made when it
// is first needed. One for each run of the program.
#pragma once

#include <memory>
#include <string>

#include "api/base/status.h"
#include "api/client/api_client.h"
#include "cli/io.h"
#include "cli/options.h"

namespace isla::cli {

class Context {
 public:
  /// Both must outlive the context.
  Context(Io& io, const Options& options);
  ~Context();

  Io& io() { return io_; }
  const Options& options() const { return options_; }

  /// The server; nothing is sent before the first call on it. INVALID_ARGUMENT: the configuration
  /// is wrong.
  StatusOr<client::ApiClient*> Api();
  /// --namespace, else the context's. Api() first.
  const std::string& ns() const { return ns_; }
  /// As ns(), but "" (all) with -A.
  std::string ScopeNs() const { return options_.all_namespaces ? "" : ns_; }

  void Print(std::string_view text) { io_.Out(text); }
  void Complain(std::string_view text) { io_.Err(text); }
  /// Prints the error and returns the command's FailureCode().
  int Fail(const Status& status);
  /// "error: <text>", and the same.
  int FailText(std::string_view text);

 private:
  void Trace(int level, const std::string& line);

  Io& io_;
  const Options& options_;
  std::string ns_ = "default";
  std::string server_;
  std::unique_ptr<client::HttpClient> http_;
  std::unique_ptr<client::ApiClient> api_;
};

}  // namespace isla::cli
