#include "sandbox/supervisor/memory.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace isla::supervisor {
namespace {

constexpr size_t kPage = 4096;  // the smallest there is: a step that never spans two pages

void* Remote(uint64_t address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }  // NOLINT

/// The kernel stops at the first page that it can't read: so page by page, to know what came before.
template <typename Transfer>
int PageByPage(uint64_t address, size_t bytes, Transfer transfer) {
  for (size_t done = 0; done < bytes;) {
    const uint64_t at = address + done;
    if (at < address) return EFAULT;  // around the end of the address space
    const size_t piece = std::min(bytes - done, kPage - static_cast<size_t>(at % kPage));
    const ssize_t moved = transfer(at, done, piece);
    if (moved < 0) return errno;
    if (moved == 0) return EFAULT;
    done += static_cast<size_t>(moved);
  }
  return 0;
}

}  // namespace

int CallerMemory::Read(uint64_t address, void* into, size_t bytes) const {
  const int error = PageByPage(address, bytes, [this, into](uint64_t at, size_t done, size_t piece) {
    const iovec local = {static_cast<char*>(into) + done, piece}, remote = {Remote(at), piece};
    return process_vm_readv(tid_, &local, 1, &remote, 1, 0);
  });
  return listener_.IsValid(id_) ? error : ESRCH;
}

int CallerMemory::ReadString(uint64_t address, size_t limit, std::string& out) const {
  out.clear();
  bool ended = false;
  const int error = [&] {
    for (uint64_t at = address; out.size() < limit;) {
      char piece[kPage];
      const size_t wanted = std::min(limit - out.size(), kPage - static_cast<size_t>(at % kPage));
      const iovec local = {piece, wanted}, remote = {Remote(at), wanted};
      const ssize_t got = process_vm_readv(tid_, &local, 1, &remote, 1, 0);
      if (got < 0) return errno;
      if (got == 0) return EFAULT;
      const void* const nul = std::memchr(piece, 0, static_cast<size_t>(got));
      ended = nul != nullptr;
      out.append(piece, ended ? static_cast<size_t>(static_cast<const char*>(nul) - piece) : static_cast<size_t>(got));
      if (ended) return 0;
      if (at + static_cast<uint64_t>(got) < at) return EFAULT;
      at += static_cast<uint64_t>(got);
    }
    return ENAMETOOLONG;
  }();
  if (!listener_.IsValid(id_)) return ESRCH;
  return error;
}

int CallerMemory::Write(uint64_t address, const void* from, size_t bytes) const {
  // No process but the caller's may be written to.
  if (!listener_.IsValid(id_)) return ESRCH;
  return PageByPage(address, bytes, [this, from](uint64_t at, size_t done, size_t piece) {
    const iovec local = {const_cast<char*>(static_cast<const char*>(from)) + done, piece}, remote = {Remote(at), piece};
    return process_vm_writev(tid_, &local, 1, &remote, 1, 0);
  });
}

}  // namespace isla::supervisor
