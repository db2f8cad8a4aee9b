// Whole commands in the test's process, against a FakeApi.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "cli/cli.h"
#include "cli/io.h"
#include "tests/unit/cli/fake_api.h"

namespace isla::testing {

/// Streams in memory. Safe to read while a command runs.
class TestIo final : public cli::Io {
 public:
  TestIo();
  void Out(std::string_view text) override;
  void Err(std::string_view text) override;
  void Flush() override {}
  StatusOr<std::string> ReadInput(size_t) override { return input; }
  StatusOr<std::string> ReadSomeInput() override { return std::exchange(input, {}); }
  std::optional<std::string> Env(const std::string& name) const override;
  int interrupt_fd() const override { return caught_ ? interrupts_.get() : -1; }
  void CatchInterrupts() override { caught_ = true; }
  void Interrupt();

  std::string out() const;
  std::string err() const;

  std::string input;
  std::map<std::string, std::string> env{{"HOME", "/nonexistent"}};

 private:
  mutable Mutex mu_;
  std::string out_ GUARDED_BY(mu_);
  std::string err_ GUARDED_BY(mu_);
  UniqueFd interrupts_;
  std::atomic<bool> caught_{false};
};

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  /// Runs `isla <args>` to its end.
  Result Isla(std::vector<std::string> args, const std::string& input = "");
  /// A file of the test's own folder; its path.
  std::string File(const std::string& name, const std::string& text);
  std::string Folder() { return api_.server().folder(); }

  FakeApi api_;
};

/// A command in a thread, for as long as the test lets it.
class Background {
 public:
  Background(FakeApi& api, std::vector<std::string> args);
  /// The command must have ended or be about to: for the others, stop the server.
  ~Background();
  /// True once the output contains `text`; false after 5 s.
  bool SeesOut(const std::string& text);
  bool SeesErr(const std::string& text);
  int Join();
  TestIo& io() { return io_; }

 private:
  TestIo io_;
  int code_ = -1;
  std::thread thread_;
};

}  // namespace isla::testing
