// Landlock: a process restricts itself, and all it will start, to some file trees, programs and TCP ports. Needs no privilege,
// can't be taken off, and works by inode: renames and links don't lead around it.
//
//   const int abi = Abi();
//   MakePlan(sections, abi, options)    what a policy's sections mean on this kernel: pure, once per policy
//   Restrict(plan, root)                for the calling thread, after the container's root is entered, before exec
//
// Sections it enforces:
//   files.allow   if not empty, nothing else can be opened, listed, run, made or removed. The kernel's limits: stat, chdir,
//                 chmod, chown, utimes, xattrs and access() of other paths still work (mask them, or deny the calls)
//   exec.allow    if not empty, nothing else can be executed: a layer of its own, so with files.allow the stricter of both. A
//                 dynamic program needs its loader (/lib64/ld-linux-x86-64.so.2) in the list, too, and a loader runs any file
//                 that can be read: it bounds which programs start, not which code runs
//   net           only as a second line: the TCP ports that no rule of a default-deny section could ever allow
//
// What kernels lack: without ABI 2 (5.19) nothing is linked or renamed from folder to folder; without 3 (6.2) truncating isn't
// restricted, without 5 (6.10) ioctls of devices aren't, without 4 (6.7) ports, without 6 (6.12) scopes aren't. Plan::lost
// says so. Without any Landlock a policy that has files.allow or exec.allow is refused, unless Options say otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "sandbox/policy/sections.h"

namespace isla::landlock {

/// The kernel's Landlock ABI; 0 if it has none, it is switched off, or an outer filter forbids it.
int Abi();

struct PathRule {
  std::string path;   // absolute, in the container
  uint64_t rights = 0;  // of the layer's `files`; for a file those that a file can have are taken
  friend bool operator==(const PathRule&, const PathRule&) = default;
};
struct PortRule {
  uint16_t port = 0;
  uint64_t rights = 0;
  friend bool operator==(const PortRule&, const PortRule&) = default;
};

/// One ruleset. What it handles is forbidden but for its rules; a thread has what all of its layers allow.
struct Layer {
  uint64_t files = 0, ports = 0, scoped = 0;  // handled
  std::vector<PathRule> paths;
  std::vector<PortRule> port_rules;
};

struct Options {
  bool ports = true;            // the second line of `net`
  bool scopes = false;          // with files.allow: abstract unix sockets and signals stay in the restricted tree, too. Not where
                                // others join it later (a second process that restricts itself likewise is another tree)
  bool go_on_without = false;   // a kernel without Landlock: enforce nothing, and say it in Plan::lost
};

struct Plan {
  std::vector<Layer> layers;        // none: nothing to restrict
  std::vector<std::string> lost;    // what this kernel can't enforce, for people: "files.allow: truncating isn't restricted..."
  bool empty() const { return layers.empty(); }
};

/// FAILED_PRECONDITION names the field that a kernel of this ABI can't enforce at all.
StatusOr<Plan> MakePlan(const sandbox::Sections& sections, int abi, const Options& options);

/// Restricts the calling thread; it must have no_new_privs, or CAP_SYS_ADMIN in its user namespace. Paths are resolved inside
/// `root` (an O_PATH folder), never outside. A path that isn't there is left out, so it can't be reached if it comes later;
/// `missing` may be null. `program`: an open file that may be executed whatever the layers say (-1: none), for who restricts itself and then
/// becomes a program from outside of the root. On an error the thread may carry a part of the layers: it must not go on.
Status Restrict(const Plan& plan, int root, std::vector<std::string>* missing = nullptr, int program = -1);

}  // namespace isla::landlock
