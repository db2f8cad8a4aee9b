// What can be said to isla-box. options.cc is the only file with CLI11 (4.6 s to compile).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sandbox/names/arch.h"

namespace isla::sandbox {

/// Of run and learn, as typed; run_command.cc makes a request of them.
struct RunFlags {
  std::vector<std::string> command;
  std::string policy;  // a file, "-" for standard input, "" for the built-in default
  std::string cpus, memory, pids, cgroup, root, hostname, folder, audit;
  std::vector<std::string> share, unshare, bind, ro_bind, tmpfs, setenv, unsetenv, limit;
  std::vector<int> keep;
  bool no_namespaces = false, map_root = false, new_session = false, die_with_parent = false, clearenv = false, without_landlock = false, verbose = false;
  std::string merge, name;  // learn
};

struct BoxOptions {
  std::string command;
  std::vector<std::string> args;
  Arch arch = kNativeArch;
  std::string output;            // explain, diff, check: "" or "json". export: oci, bpf, listing
  std::string file;              // export: where to, or "" for standard output
  std::string notified = "refuse";
  bool no_floor = false;
  bool no_proof = false;
  bool quiet = false;
  bool rollback = false, dry_run = false;  // reload
  int count = 0;                           // top: how often; 0: once, on a terminal for ever
  RunFlags run;
};

struct BoxParse {
  std::optional<int> exit;  // help and errors end here
  std::string out, err;
  BoxOptions options;
};

BoxParse ParseBox(const std::vector<std::string>& args);

/// For completion: commands; and the flags of one.
std::vector<std::string> BoxCommands();
std::vector<std::string> BoxFlags(const std::string& command);

}  // namespace isla::sandbox
