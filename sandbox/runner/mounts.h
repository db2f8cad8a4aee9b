// Mounting through descriptors (fsopen, open_tree, mount_setattr, move_mount: Linux 5.12 on): a mount has all of its attributes
// before anybody can see it, and goes to a place that was resolved inside the container's root, so no symbolic link of an
// untrusted root leads it elsewhere. Used in the container's own mount namespace only.
#pragma once

#include <sys/mount.h>

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::runner {

inline constexpr uint64_t kReadOnly = MOUNT_ATTR_RDONLY;
inline constexpr uint64_t kNoSuid = MOUNT_ATTR_NOSUID;
inline constexpr uint64_t kNoDev = MOUNT_ATTR_NODEV;
inline constexpr uint64_t kNoExec = MOUNT_ATTR_NOEXEC;

/// A new file system, not attached; an option without a value is a flag.
StatusOr<UniqueFd> NewFilesystem(const char* type, std::initializer_list<std::pair<const char*, std::string>> options, uint64_t attributes);

/// A copy of what is mounted at `path` relative to `folder` and below it, not attached, with `attributes` set besides its own.
StatusOr<UniqueFd> CopyTree(int folder, const std::string& path, uint64_t attributes);

/// Attaches `mount` at the descriptor `target`; `shown` is for errors.
Status Attach(const UniqueFd& mount, const UniqueFd& target, std::string_view shown);

/// Sets attributes of the mount `fd` is the root of, and with `recursive` of all below.
Status SetAttributes(int fd, uint64_t attributes, bool recursive, std::string_view shown);

/// What `path` is inside `root`, as OpenInRoot(); not valid, and errno, if it can't be opened. For paths that may well not be there: the text of
/// an error would take longer than the rest.
UniqueFd FindInRoot(int root, const std::string& path);
inline bool IsMissing(int error) { return error == ENOENT || error == ENOTDIR; }

/// What `path` is inside `root`, as an O_PATH descriptor: links are followed inside the root only. NOT_FOUND if it isn't there.
StatusOr<UniqueFd> OpenInRoot(int root, const std::string& path);

/// As OpenInRoot, but makes what is missing: folders, and a last component that is a file if `file`.
StatusOr<UniqueFd> MakeInRoot(int root, const std::string& path, bool file);

}  // namespace isla::runner
