// The stack of a process that clone() makes in the caller's memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>

namespace isla::runner {

/// Mapped, not allocated: for so much malloc would first look at all that was freed, page by page, which are copied as a fork left them.
class CloneStack {
 public:
  CloneStack() : base_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {}
  CloneStack(const CloneStack&) = delete;
  CloneStack& operator=(const CloneStack&) = delete;
  /// The process must have ended, or have memory of its own.
  ~CloneStack() {
    if (valid()) munmap(base_, kBytes);
  }

  /// Else errno says why.
  bool valid() const { return base_ != MAP_FAILED; }
  /// Where it begins: it grows downwards.
  void* top() const { return static_cast<char*>(base_) + kBytes; }

 private:
  static constexpr size_t kBytes = 256 * 1024;

  void* const base_;
};

}  // namespace isla::runner
