// Processes of tests: commands run to their end, and daemons that are started, killed, frozen and started
// again. Every child dies with the test (parent-death signal), whatever happens to it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace isla::testing {

struct CommandResult {
  int exit_code = -1;  // 128 + signal if killed; -1 if it ran into the timeout (and was killed)
  std::string out;
  std::string err;
};

struct CommandOptions {
  std::string input = {};
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
  std::vector<std::string> environment = {};  // added to the test's own: "NAME=value"
  uid_t uid = 0;                         // runs as this user (and group)
};

/// Runs a command to its end; argv[0] is looked up on PATH.
CommandResult RunCommand(const std::vector<std::string>& argv, const CommandOptions& options = {});

/// Tries `holds` every 5 ms until it is true; false if `timeout` passed.
bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds timeout = std::chrono::seconds(15));

/// A program that runs until it is stopped. Its output goes to a file.
class Daemon {
 public:
  Daemon(std::string name, std::vector<std::string> argv, std::string folder, std::string log_path);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  void Start();
  /// SIGTERM, then waits; kills after 10 s (and fails the test).
  void Stop();
  /// SIGKILL, then waits.
  void Kill9();
  /// SIGSTOP: returns when all its threads have stopped.
  void Signal(int signal);
  bool running();
  pid_t pid() const { return pid_; }
  const std::string& name() const { return name_; }
  std::vector<std::string>& argv() { return argv_; }
  /// The last part of its output, for failure messages.
  std::string Log() const;

 private:
  std::string name_;
  std::vector<std::string> argv_;
  std::string folder_;
  std::string log_path_;
  pid_t pid_ = -1;
};

}  // namespace isla::testing
