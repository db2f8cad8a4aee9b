// Mounting through descriptors (fsopen, open_tree, mount_setattr, move_mount: Linux 5.12 on): a mount has all of its
// attributes before anybody can see it, and goes to a place that was resolved inside the container's root, so no
// symbolic link in an image leads it elsewhere. Used by the container's first process only, in its own mount
// namespace, before it pivots.
#pragma once

#include <sys/mount.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "agentd/shim/step.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

inline constexpr uint64_t kReadOnly = MOUNT_ATTR_RDONLY;
inline constexpr uint64_t kNoSuid = MOUNT_ATTR_NOSUID;
inline constexpr uint64_t kNoDev = MOUNT_ATTR_NODEV;
inline constexpr uint64_t kNoExec = MOUNT_ATTR_NOEXEC;

/// A new file system, not yet attached: type "tmpfs", options {{"size", "4096"}}; an empty value is a flag.
Step NewFilesystem(const char* type, std::initializer_list<std::pair<const char*, std::string>> options,
                   uint64_t attributes, UniqueFd& out);

/// A copy of what is mounted at `path` relative to `folder` (AT_FDCWD for the host's), not yet attached; with
/// `recursive` and what is mounted below it.
Step CopyMount(int folder, const std::string& path, bool recursive, uint64_t attributes, UniqueFd& out);

/// Attaches `mount` at the descriptor `target`, a folder or file.
Step Attach(const UniqueFd& mount, const UniqueFd& target, const std::string& shown);

/// What `path` ("/a/b" or "a/b") is inside `root`, as an O_PATH descriptor: symbolic links are followed inside the root
/// only.
Step OpenInRoot(int root, const std::string& path, UniqueFd& out);

/// As OpenInRoot, but makes what is missing: folders owned by `owner`, and a last component that is a file if `file`.
Step MakeInRoot(int root, const std::string& path, bool file, uint32_t owner, UniqueFd& out);

}  // namespace isla::shim
