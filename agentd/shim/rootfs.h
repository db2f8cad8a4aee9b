// The container's root file system, built as real root in the container's own mount namespace, before its user
// namespace is entered. Nothing of it is ever visible on the host, and it goes with the last process.
//
// image "host":  a tmpfs of tmpfs_bytes; /usr of the host read-only; /bin, /lib... as the host has them; of /etc a
//                short list, read-only (kEtc* in rootfs.cc) and made-up passwd, group, hosts, hostname.
// image "dir:P": an overlay over P, its upper layer in overlay_dir or in a tmpfs. P's files are seen under the
//                container's ids where P's file system can be idmapped; elsewhere as nobody's.
// Both:          /proc with the files that tell about or reach into the machine covered; /sys read-only; /dev with
//                null, zero, full, random, urandom, tty, pts, shm; /tmp and /run; the mounts that were asked for,
//                nosuid and nodev; and a view's files.
// All that can be written in memory (/tmp, /dev/shm, /run, the root itself of "host") is one tmpfs with one size.
#pragma once

#include "agentd/shim/protocol.h"
#include "agentd/shim/step.h"
#include "api/base/unique_fd.h"
#include "sandbox/policy/sections.h"

namespace isla::shim {

struct RootParts {
  int user_namespace = -1;  // for idmapping
  /// Files that are bound over those of /proc and /sys, or anywhere else, read-only. One whose path under /proc or /sys this kernel doesn't
  /// have is left out; elsewhere it is made.
  std::vector<sandbox::ViewFile> view;
  /// Paths that a policy hides or shows read-only; those that aren't there are left out.
  std::vector<std::string> mask, read_only;
};

/// Builds the root at request.run_dir + "/root" and makes it "/" of the calling process, which must be alone in
/// its mount namespace and PID 1 of its pid namespace, in its network namespace. On failure the process must exit.
Step EnterRoot(const LaunchRequest& request, const RootParts& parts);

/// In the root, and once the process is in its cgroup namespace: shows the container's own cgroup (v2), so that
/// runtimes read their limits. On v1 there is no one place to show.
Step MountCgroup();

}  // namespace isla::shim
