// What the user asked for: one command and its flags, as text checked no further than its syntax.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/clock.h"
#include "api/client/config.h"
#include "cli/io.h"

namespace isla::cli {

enum class DryRun { kNone, kClient, kServer };

struct RunOptions {
  std::string name;
  std::string image;
  std::string cpu;
  std::string memory;
  std::string timeout;
  std::string network;
  std::string workdir;
  std::vector<std::string> env;
  std::vector<std::string> mounts;
  std::vector<std::string> labels;
  std::vector<std::string> node_selector;
  std::vector<std::string> command;
  bool remove = false;
  bool detach = false;
  bool quiet = false;
};

struct ConfigOptions {
  std::string group;  // the scope; neither: global
  std::string node;
  std::string prefix;
  std::string resource_version;
  bool schema = false;
};

struct StoreOptions {
  bool seal = false;
  bool replace = false;
  bool keep_invalid = false;
  int64_t revision = 0;
};

struct Options {
  std::string command;  // "get"
  // Every command.
  client::ConnectionFlags connection;
  std::string ns;  // "" = the context's
  Duration request_timeout = std::chrono::seconds(60);
  int verbosity = 0;
  // Most commands.
  std::vector<std::string> args;  // "session", "x"
  std::vector<std::string> files;
  bool recursive = false;
  std::string output;
  std::string selector;
  std::string field_selector;
  bool all_namespaces = false;
  bool all = false;
  bool ignore_not_found = false;
  DryRun dry_run = DryRun::kNone;
  std::optional<Duration> timeout;
  // get
  bool watch = false;
  bool watch_only = false;
  bool watch_events = false;
  bool no_headers = false;
  bool show_labels = false;
  // delete
  bool wait = true;
  bool now = false;
  bool force = false;
  int64_t grace_period = -1;
  // logs
  bool follow = false;
  bool timestamps = false;
  int64_t tail = -1;
  Duration since{};
  // wait
  std::string wait_for;
  // version
  bool client_only = false;
  // config view
  bool raw = false;
  ConfigOptions config;
  StoreOptions store;
  RunOptions run;
};

/// The exit status of `run` for whatever failed that isn't its command: docker's. Any other of its own could be the command's.
inline constexpr int kRunFailed = 125;

/// The exit status of a command that failed: kRunFailed of `run`, 1 of any other, and of none ("").
int FailureCode(std::string_view command);

/// Parses the command line (without the program's name). Nothing: it was answered already (help, or
/// an error on standard error), and `exit_code` is set.
std::optional<Options> ParseCommandLine(const std::vector<std::string>& args, Io& io,
                                        int& exit_code);

/// The names of all commands, and the flags of one ("--watch"), for completion.
std::vector<std::string> CommandNames();
std::vector<std::string> FlagNames(const std::string& command);

}  // namespace isla::cli
