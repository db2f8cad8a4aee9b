// What a command sees of its process: streams, environment, signals. Passed in, so that tests run
// whole commands in their own process.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla::cli {

class Io {
 public:
  virtual ~Io() = default;
  /// Data goes to Out, everything else to Err. Out is written at once when a person or a program
  /// waits for it (Flush), else at the end.
  virtual void Out(std::string_view text) = 0;
  virtual void Err(std::string_view text) = 0;
  virtual void Flush() = 0;
  /// Standard input to its end, at most `limit_bytes`.
  virtual StatusOr<std::string> ReadInput(size_t limit_bytes) = 0;
  /// Some more of standard input; "" at its end.
  virtual StatusOr<std::string> ReadSomeInput() = 0;
  virtual std::optional<std::string> Env(const std::string& name) const = 0;
  /// Readable after SIGINT or SIGTERM once CatchInterrupts() was called; -1: never.
  virtual int interrupt_fd() const = 0;
  /// From here on Ctrl-C and SIGTERM don't end the process: calls of the server end with CANCELLED, and so does waiting
  /// for whoever reads Out, whose rest is dropped then.
  virtual void CatchInterrupts() = 0;
};

}  // namespace isla::cli
