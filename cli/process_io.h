// The process's own streams, environment and signals. One for each process.
#pragma once

#include <string>

#include "api/base/unique_fd.h"
#include "cli/io.h"

namespace isla::cli {

class ProcessIo final : public Io {
 public:
  ProcessIo() = default;
  ~ProcessIo() override { Flush(); }

  void Out(std::string_view text) override;
  void Err(std::string_view text) override;
  void Flush() override;
  StatusOr<std::string> ReadInput(size_t limit_bytes) override;
  StatusOr<std::string> ReadSomeInput() override;
  std::optional<std::string> Env(const std::string& name) const override;
  int interrupt_fd() const override { return signals_.get(); }
  void CatchInterrupts() override;

  /// An error of writing to standard output (a full disk); 0 if none.
  int write_error() const { return write_error_; }

 private:
  /// Waits until standard output takes PIPE_BUF bytes without blocking; false: interrupted before.
  bool WaitWritable() const;

  std::string pending_;
  int write_error_ = 0;
  UniqueFd signals_;  // a signalfd
};

}  // namespace isla::cli
