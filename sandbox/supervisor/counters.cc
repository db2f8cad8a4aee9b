#include "sandbox/supervisor/counters.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace isla::supervisor {
namespace {

constexpr uint64_t kMagic = 0x31544e4341'4c5349;

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNone: return "";
    case Verdict::kContinued: return "continued";
    case Verdict::kRefused: return "refused";
    case Verdict::kRewritten: return "rewritten";
    case Verdict::kPerformed: return "performed";
    case Verdict::kKilled: return "killed";
    case Verdict::kThrottled: return "throttled";
  }
  return "";
}

void SharedCounters::Unmap::operator()(Page* page) const { munmap(page, sizeof(Page)); }

StatusOr<SharedCounters> SharedCounters::Create() {
  UniqueFd memfd(memfd_create("isla-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd.valid() || ftruncate(memfd.get(), sizeof(Page)) != 0 || pwrite(memfd.get(), &kMagic, sizeof kMagic, 0) != sizeof kMagic ||
      fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FromErrno(errno, "make the counters");
  }
  return Open(std::move(memfd));
}

StatusOr<SharedCounters> SharedCounters::Open(UniqueFd memfd) {
  SharedCounters out;
  struct stat st {};
  uint64_t magic = 0;
  if (fstat(memfd.get(), &st) != 0 || static_cast<size_t>(st.st_size) != sizeof(Page) || pread(memfd.get(), &magic, sizeof magic, 0) != sizeof magic || magic != kMagic ||
      (fcntl(memfd.get(), F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
    return Error(Code::kInvalidArgument, "the descriptor holds no counters");
  }
  void* const at = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  if (at == MAP_FAILED) return FromErrno(errno, "map the counters");
  out.page_.reset(static_cast<Page*>(at));
  out.memfd_ = std::move(memfd);
  return out;
}

void SharedCounters::Count(uint32_t rule, Verdict verdict) {
  const uint32_t index = std::min(rule, kRules - 1);
  if (page().used.load(std::memory_order_relaxed) <= index) {
    uint32_t used = page().used.load();
    while (used <= index && !page().used.compare_exchange_weak(used, index + 1)) {
    }
  }
  Counter& counter = page().rules[index];
  counter.calls.fetch_add(1, std::memory_order_relaxed);
  counter.last.store(static_cast<uint32_t>(verdict), std::memory_order_relaxed);
}

void SharedCounters::Reset() {
  const uint32_t used = std::min(page().used.load(), kRules);
  for (uint32_t i = 0; i < used; ++i) {
    page().rules[i].calls.store(0);
    page().rules[i].last.store(0);
  }
}

std::vector<RuleCount> SharedCounters::Read() const {
  std::vector<RuleCount> out;
  // Both are what the supervisor's process wrote: it is trusted with nothing here.
  const uint32_t used = std::min(page().used.load(), kRules);
  for (uint32_t i = 0; i < used; ++i) {
    const uint64_t calls = page().rules[i].calls.load(std::memory_order_relaxed);
    const uint32_t last = page().rules[i].last.load(std::memory_order_relaxed);
    if (calls != 0) out.push_back({i, calls, last <= static_cast<uint32_t>(Verdict::kThrottled) ? static_cast<Verdict>(last) : Verdict::kNone});
  }
  return out;
}

}  // namespace isla::supervisor
