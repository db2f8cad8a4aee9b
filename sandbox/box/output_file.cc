#include "sandbox/box/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "api/base/unique_fd.h"

namespace isla::sandbox {
namespace {

struct Target {
  std::string path;       // of a file: without links
  bool there = false;
  bool replaced = false;  // by another file; else it is opened and written
  mode_t mode = 0;
};

StatusOr<Target> TargetOf(const std::string& path) {
  Target out = {path};
  struct stat st {};
  if (stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return FromErrno(EISDIR, fmt::format("write '{}'", path));
    out.there = true;
    out.replaced = S_ISREG(st.st_mode);
    out.mode = st.st_mode & 07777;
    char real[PATH_MAX];
    if (out.replaced && realpath(path.c_str(), real) != nullptr) out.path = real;
    return out;
  }
  if (errno != ENOENT) return FromErrno(errno, fmt::format("write '{}'", path));
  // What a link leads to that isn't there is made by opening it.
  out.replaced = lstat(path.c_str(), &st) != 0;
  const mode_t own = umask(0);
  umask(own);
  out.mode = 0666 & ~own;
  return out;
}

/// Beside it, under a name that nobody else has; its own name is empty if the folder doesn't let us.
struct Beside {
  std::string name;
  UniqueFd fd;
  int error = 0;
};

Beside MakeBeside(const Target& target) {
  Beside out;
  out.name = target.path + ".XXXXXX";
  out.fd.Reset(mkostemp(out.name.data(), O_CLOEXEC));
  if (!out.fd.valid()) out.error = errno, out.name.clear();
  return out;
}

Status WriteInPlace(const std::string& path, std::string_view bytes) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666));
  if (!fd.valid()) return FromErrno(errno, fmt::format("write '{}'", path));
  return Annotate(WriteAll(fd.get(), bytes), path);
}

Status Replace(const Target& target, Beside beside, std::string_view bytes) {
  Status status = WriteAll(beside.fd.get(), bytes);
  if (status.ok() && fchmod(beside.fd.get(), target.mode) != 0) status = FromErrno(errno, "set its mode");
  if (status.ok() && rename(beside.name.c_str(), target.path.c_str()) != 0) status = FromErrno(errno, "put it in its place");
  if (!status.ok()) unlink(beside.name.c_str());
  return Annotate(status, target.path);
}

}  // namespace

Status CheckOutput(const std::string& path) {
  ASSIGN_OR_RETURN(const Target target, TargetOf(path));
  if (target.there && access(path.c_str(), W_OK) != 0) return FromErrno(errno, fmt::format("write '{}'", path));
  if (!target.replaced) return OkStatus();
  const Beside beside = MakeBeside(target);
  if (beside.name.empty() && !target.there) return FromErrno(beside.error, fmt::format("write '{}'", path));
  if (!beside.name.empty()) unlink(beside.name.c_str());
  return OkStatus();
}

Status WriteOutput(const std::string& path, std::string_view bytes) {
  ASSIGN_OR_RETURN(const Target target, TargetOf(path));
  // A file that may not be written isn't replaced either, whatever its folder lets us do.
  if (target.there && access(path.c_str(), W_OK) != 0) return FromErrno(errno, fmt::format("write '{}'", path));
  if (!target.replaced) return WriteInPlace(path, bytes);
  Beside beside = MakeBeside(target);
  if (!beside.name.empty()) return Replace(target, std::move(beside), bytes);
  if (!target.there) return FromErrno(beside.error, fmt::format("write '{}'", path));
  return WriteInPlace(target.path, bytes);
}

}  // namespace isla::sandbox
