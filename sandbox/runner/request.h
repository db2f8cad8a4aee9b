// What is asked of a run: a command, the compiled policy that it runs under, and the container around it. Plain data, all of it
// decided: nothing here is looked up while the container is built; only what the policy's rules become may be on its way.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/compiled_policy.h"

namespace isla::runner {

/// Which namespaces are the command's own.
struct Namespaces {
  bool user = false, mount = true, pid = true, ipc = true, uts = true, net = false, cgroup = true;

  static Namespaces None() { return {false, false, false, false, false, false, false}; }
  /// CLONE_NEW... flags.
  uint64_t Flags() const;
};

struct Mount {
  enum class Kind : uint8_t { kBind, kReadOnly, kTmpfs };
  Kind kind = Kind::kBind;
  std::string source;  // of the host; not of a tmpfs
  std::string target;  // in the container; made if it is missing and the root can be written
};

/// How the command's processes come into a control group (box_group.h). Descriptors, not closed.
struct GroupEntry {
  int folder = -1;                 // of v2: to be cloned into
  int procs = -1;                  // of v2: takes "0" from whoever is to be in, where that can't be
  std::vector<int> tasks;          // of v1, the same
  int memory_usage = -1;           // a file whose text is how many bytes are in use
  bool any() const { return folder >= 0 || !tasks.empty(); }
};

struct Request {
  sandbox::CompiledPolicy policy;
  /// Does what sandbox::CompileInto() does with `policy`, if that isn't done: called once, outside, while the container is built.
  std::function<Status(sandbox::CompiledPolicy& policy)> compile;
  std::vector<std::string> command;      // at least one word; without a '/' looked for in PATH of `environment`
  std::vector<std::string> environment;  // "NAME=value"
  std::string folder;                    // to begin in; "": where we are
  Namespaces namespaces;
  std::string root;                      // a folder to have as "/"; "": the host's
  std::vector<Mount> mounts;
  std::vector<std::string> hidden;       // paths of the host that nothing inside may reach: covered, where there is a mount namespace
  std::string hostname;                  // "": as it is
  bool map_root = false;                 // with a user namespace: be root inside it
  bool new_session = false;              // no controlling terminal
  bool die_with_parent = false;          // of whoever calls Run()
  std::vector<int> keep;                 // descriptors above 2 that the command inherits
  std::vector<std::pair<int, rlim_t>> limits;  // RLIMIT_..., soft and hard

  // The grant: 0 is all that the machine has.
  unsigned cpus = 0;                     // whole ones; the command is held to as many
  uint64_t memory_bytes = 0;             // what view.memory shows
  // By the kernel, as far as the group is there: who makes it (sandbox/box/keeping.h) looks at these.
  uint64_t cpu_millis = 0, tasks = 0;
  GroupEntry group;

  bool go_on_without_landlock = false;
  std::string supervisor;                // path of isla-supervisor
  std::string audit;                     // a file to append lines to, "-" for standard error, "" for nowhere
  int audit_fd = -1;                     // instead: where lines go (not closed)
};

}  // namespace isla::runner
