#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "api/base/memfd.h"
#include "sandbox/supervisor/call_shape.h"
#include "sandbox/supervisor/perform.h"

namespace isla::supervisor {

constexpr size_t kMostContents = 256;

struct Contents::Content {
  UniqueFd memfd;
};

Contents::Contents() = default;
Contents::~Contents() = default;

std::shared_ptr<const Contents::Content> Contents::Make(std::string_view content) {
  auto made = std::make_shared<Content>();
  StatusOr<UniqueFd> memfd = MakeMemfd("isla-file");
  if (!memfd.ok() || !WriteAll(memfd->get(), content).ok() || fchmod(memfd->get(), 0444) != 0 || !SealMemfd(memfd->get()).ok()) return nullptr;
  made->memfd = *std::move(memfd);
  return made;
}

std::shared_ptr<const Contents::Content> Contents::Find(std::string_view content) {
  const MutexLock lock(mu_);
  if (const auto found = contents_.find(content); found != contents_.end()) return found->second;
  std::shared_ptr<const Content> made = Make(content);
  if (made == nullptr) return nullptr;
  if (contents_.size() >= kMostContents) contents_.clear();  // of policies that were replaced
  contents_.emplace(std::string(content), made);
  return made;
}

Outcome Contents::Open(ReceivedCall& call, std::string_view content, bool keep) {
  if (ShapeOf(call.number()).kind != CallShape::Kind::kOpen) return Outcome::Errno(EPERM);
  const OpenRequest request = OpenRequestOf(call);
  if ((request.flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return Outcome::Errno(EEXIST);
  if ((request.flags & O_PATH) != 0) return Outcome::Errno(EOPNOTSUPP);
  if ((request.flags & O_DIRECTORY) != 0) return Outcome::Errno(ENOTDIR);
  if ((request.flags & O_ACCMODE) != O_RDONLY || (request.flags & O_TRUNC) != 0) return Outcome::Errno(EACCES);
  const std::shared_ptr<const Content> found = keep ? Find(content) : Make(content);
  if (found == nullptr) return Outcome::Errno(ENOMEM);
  // Opened anew: an offset of its own.
  UniqueFd fd(open(fmt::format("/proc/self/fd/{}", found->memfd.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Outcome::Errno(errno);
  return Outcome::Descriptor(std::move(fd), (request.flags & O_CLOEXEC) != 0);
}

}  // namespace isla::supervisor
