#include "sandbox/supervisor/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace isla::supervisor {
namespace {

constexpr uint64_t kMagic = 0x316c6e6a616c7369;  // "islajnl1"
constexpr size_t kMaxSlots = 65536;

}  // namespace

struct alignas(64) Journal::Header {
  uint64_t magic;
  uint64_t slots;
  std::atomic<uint64_t> used;  // slots from here on were never taken
  std::atomic<uint64_t> received;
};

JournalSlot* Journal::FirstSlot() const {
  return reinterpret_cast<JournalSlot*>(static_cast<char*>(mapping_->address) + sizeof(Header));
}

void Journal::Clear(JournalSlot* slot) {
  // `arch` goes first: from there on a successor takes the slot for free.
  std::atomic_ref<uint32_t>(slot->notification.data.arch).store(0, std::memory_order_release);
  std::memset(slot->room, 0, sizeof slot->room);
  slot->stage.store(0, std::memory_order_relaxed);
  slot->attempts = 0;
  slot->result = 0;
  slot->tag = 0;
  slot->received_ns = 0;
}

Journal::Mapping::~Mapping() {
  if (address != nullptr) munmap(address, bytes);
}

Status Journal::Map(size_t bytes) {
  mapping_ = std::make_unique<Mapping>();
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  if (at == MAP_FAILED) return FromErrno(errno, "map the journal");
  mapping_->address = at;
  mapping_->bytes = bytes;
  return OkStatus();
}

StatusOr<Journal> Journal::Create(size_t slots) {
  ISLA_CHECK(slots > 0 && slots <= kMaxSlots);
  UniqueFd memfd(memfd_create("isla-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const size_t bytes = sizeof(Header) + slots * sizeof(JournalSlot);
  if (!memfd.valid() || ftruncate(memfd.get(), static_cast<off_t>(bytes)) != 0 ||
      // Nobody may pull the pages away from under those who map it.
      fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FromErrno(errno, "make the journal");
  }
  const Header header = {kMagic, slots, 0, 0};
  if (pwrite(memfd.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
    return FromErrno(errno, "write the journal's header");
  }
  return Open(std::move(memfd));
}

StatusOr<Journal> Journal::Open(UniqueFd memfd) {
  Journal out;
  out.memfd_ = std::move(memfd);
  struct stat st {};
  Header header = {};
  if (fstat(out.memfd_.get(), &st) != 0) return FromErrno(errno, "look at the journal");
  const int seals = fcntl(out.memfd_.get(), F_GET_SEALS);
  if (pread(out.memfd_.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header) || header.magic != kMagic ||
      header.slots == 0 || header.slots > kMaxSlots || header.used.load() > header.slots || seals < 0 || (seals & F_SEAL_SHRINK) == 0 ||
      static_cast<size_t>(st.st_size) != sizeof(Header) + header.slots * sizeof(JournalSlot)) {
    return Error(Code::kInvalidArgument, "the descriptor is no journal of notified calls");
  }
  RETURN_IF_ERROR(out.Map(static_cast<size_t>(st.st_size)));
  JournalSlot* const slots = out.FirstSlot();
  const uint64_t used = header.used.load();
  out.free_ = std::make_unique<Free>();
  const MutexLock lock(out.free_->mu);
  // The lowest are taken first, so that few pages are ever touched.
  for (size_t i = header.slots; i > 0; --i) {
    JournalSlot* const slot = &slots[i - 1];
    if (i <= used && slot->filled()) {
      out.left_.push_back(slot);
      continue;
    }
    // A predecessor may have died while it cleared this one, and the kernel receives into zeros only.
    if (i <= used) Clear(slot);
    out.free_->slots.push_back(slot);
  }
  return out;
}

JournalSlot* Journal::Take() {
  const MutexLock lock(free_->mu);
  if (free_->slots.empty()) return nullptr;
  JournalSlot* const slot = free_->slots.back();
  free_->slots.pop_back();
  const auto used = static_cast<uint64_t>(slot - FirstSlot()) + 1;
  if (used > header().used.load(std::memory_order_relaxed)) header().used.store(used, std::memory_order_release);
  return slot;
}

void Journal::Return(JournalSlot* slot) {
  Clear(slot);
  const MutexLock lock(free_->mu);
  free_->slots.push_back(slot);
}

void Journal::CountReceived() { header().received.fetch_add(1, std::memory_order_relaxed); }

Journal::Look Journal::LookAt(int memfd) {
  // Read, not mapped: whoever writes there may not be trusted, and nothing of it is used but as numbers.
  constexpr size_t kAtATime = 64;
  Look out;
  Header header = {};
  if (pread(memfd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) return out;
  out.received = header.received.load();
  const uint64_t used = std::min<uint64_t>(header.used.load(), kMaxSlots);
  std::vector<char> bytes(kAtATime * sizeof(JournalSlot));
  for (uint64_t first = 0; first < used; first += kAtATime) {
    const size_t wanted = std::min<size_t>(kAtATime, used - first) * sizeof(JournalSlot);
    const ssize_t got = pread(memfd, bytes.data(), wanted, static_cast<off_t>(sizeof(Header) + first * sizeof(JournalSlot)));
    for (size_t at = 0; got > 0 && at + sizeof(JournalSlot) <= static_cast<size_t>(got); at += sizeof(JournalSlot)) {
      uint32_t arch = 0;
      uint64_t received_ns = 0;
      std::memcpy(&arch, bytes.data() + at + offsetof(JournalSlot, notification) + offsetof(seccomp_notif, data.arch), sizeof arch);
      std::memcpy(&received_ns, bytes.data() + at + offsetof(JournalSlot, received_ns), sizeof received_ns);
      if (arch == 0) continue;
      if (received_ns == 0) out.unstamped = true;
      else if (out.oldest_ns == 0 || received_ns < out.oldest_ns) out.oldest_ns = received_ns;
    }
  }
  return out;
}

size_t Journal::free_slots() const {
  const MutexLock lock(free_->mu);
  return free_->slots.size();
}

}  // namespace isla::supervisor
