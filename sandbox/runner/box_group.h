// The control group of one run: what the kernel limits and counts for it as a whole, and where the programs of a policy's `net`
// section hang (sandbox/cgroup_net).
//
//   v2   <parent>/isla-box.<pid>.<n>   the parent is the nearest of our own group and those above it in which we may make groups and that hands
//                                      the wanted controllers down: a session's or service's slice, or what systemd delegates to a user
//   v1   the same name in our own group of each hierarchy whose controller v2 doesn't have (hybrid machines; root only)
//
// Whoever made a group holds a lock (flock) on its folder, which ends with the process, whatever way. So a group whose lock can be had is
// one of the dead, and the next Create() in that parent removes it; numbers that are used again say nothing. One that still has processes
// (what a command without a pid namespace left running) stays until they are gone, with its limits and programs in force.
//
// Nothing in a run may write to a control group, or it would leave its own: root.h makes their mounts read-only.
//
// One thread. Blocks for milliseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "sandbox/runner/request.h"

namespace isla::runner {

struct GroupOptions {
  bool unified = false;            // there must be one of v2
  bool programs = false;           // of v2 whatever its controllers are, if there can be: for programs
  sandbox::ResourceLimits limits;  // which controllers it should have; they aren't set yet
  std::string parent;              // "": found as above
};

class BoxGroup {
 public:
  BoxGroup(BoxGroup&&) noexcept = default;
  /// Removes it, waiting for its last processes to be gone if `wait`.
  ~BoxGroup();

  /// FAILED_PRECONDITION says why there can be none, and what to do about it.
  static StatusOr<BoxGroup> Create(const GroupOptions& options);

  /// Each sets one limit, and reads it back; 0 takes it off. FAILED_PRECONDITION if the group doesn't have the controller; or, of memory, if
  /// more is in use already.
  Status LimitMemory(uint64_t bytes);
  Status LimitCpu(uint64_t millis);
  Status LimitTasks(uint64_t tasks);
  /// Whether the group has a controller: "memory", "cpu", "pids".
  bool CanLimit(const char* controller) const { return With(controller) != nullptr; }

  /// For a request. The descriptors are this object's.
  GroupEntry entry() const;
  /// The folder of v2, or -1.
  int unified() const { return unified_.folder.get(); }
  /// For people: of v2 if there is one.
  const std::string& path() const { return path_; }

  /// How many processes the kernel killed for want of memory. 0 where nobody counts.
  uint64_t OomKills() const;

  /// Whether all of the run ends with the command (it has a pid namespace): then the group is waited for when it is removed.
  void set_ends_with_command(bool ends) { ends_with_command_ = ends; }

 private:
  struct Folder {
    UniqueFd parent, folder, procs;  // the folder's has the lock
    std::string name, controllers;   // of v1 as in /proc/self/cgroup; of v2 those it was given, separated by ','
    bool v1 = false;
  };
  BoxGroup() = default;
  static StatusOr<Folder> Make(const std::string& parent, bool v1);
  static void Sweep(int parent);
  void Remove(Folder& folder) const;
  /// The folder that has a controller, or null.
  const Folder* With(const char* controller) const;
  Status Missing(const char* controller) const;

  Folder unified_;
  std::vector<Folder> v1_;
  UniqueFd memory_usage_;
  std::string path_, why_not_;  // why some controller is missing
  bool ends_with_command_ = false;
};

/// The calling process, which has one thread, comes into the groups: of v1, and of v2 if `unified` (else it was cloned into it).
Status EnterGroup(const GroupEntry& entry, bool unified);

}  // namespace isla::runner
