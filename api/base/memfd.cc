#include "api/base/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace isla {

StatusOr<UniqueFd> MakeMemfd(const char* name) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FromErrno(errno, "make a memfd");
  return fd;
}

Status SealMemfd(int memfd) {
  if (fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) return FromErrno(errno, "seal a memfd");
  if (lseek(memfd, 0, SEEK_SET) != 0) return FromErrno(errno, "go to a memfd's beginning");
  return OkStatus();
}

StatusOr<UniqueFd> SealedMemfd(const char* name, std::string_view bytes) {
  ASSIGN_OR_RETURN(UniqueFd fd, MakeMemfd(name));
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes));
  RETURN_IF_ERROR(SealMemfd(fd.get()));
  return fd;
}

}  // namespace isla
