// Any bytes as rows of the embedded store's log: a row reads back as what it is written from, byte for byte, or is refused;
// and any rows one after the other are a history that follows, or are refused. The checksum stops nearly all that a fuzzer makes, so
// the input is tried as it is and with the checksum that it should have.
#include <cstdint>

#include "api/base/crc32c.h"
#include "store/embedded/log_row.h"
#include "store/embedded/mvcc.h"

namespace isla::store {
namespace {

constexpr Revision kRevision = 7;

std::string Fixed(uint64_t number, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>((number >> (8 * i)) & 0xff));
  return out;
}

void CheckRefusal(const Status& status) {
  ISLA_CHECK(status.code() == Code::kDataLoss || status.code() == Code::kFailedPrecondition);
}

void CheckVersion(const KeyValue& kv, Revision most) {
  ISLA_CHECK(!kv.key.empty());
  if (kv.version == 0) {
    ISLA_CHECK(kv.value.empty() && kv.lease == 0 && kv.create_revision == 0);
  } else {
    ISLA_CHECK(kv.version > 0 && kv.lease >= 0 && kv.create_revision >= 1 && kv.create_revision <= kv.mod_revision);
  }
  ISLA_CHECK(kv.mod_revision <= most);
}

void CheckLogRow(std::string_view row) {
  const auto changes = DecodeLogRow(kRevision, row);
  if (!changes.ok()) return CheckRefusal(changes.status());
  ISLA_CHECK(!changes->empty());
  for (const auto& kv : *changes) CheckVersion(*kv, kRevision);
  ISLA_CHECK(EncodeLogRow(kRevision, *changes) == row);
  ISLA_CHECK(!DecodeLogRow(kRevision + 1, row).ok());
}

void CheckLiveRow(std::string_view key, std::string_view row) {
  const auto kv = DecodeLiveRow(key, row);
  if (!kv.ok()) return CheckRefusal(kv.status());
  CheckVersion(**kv, (*kv)->mod_revision);
  ISLA_CHECK((*kv)->version > 0 && (*kv)->key == key);
  ISLA_CHECK(EncodeLiveRow(**kv) == row);
  ISLA_CHECK(!DecodeLiveRow(std::string(key) + "x", row).ok());
}

/// The input as bodies of rows (each begins with its length), with their checksums, loaded one after the other.
void CheckHistory(std::string_view input) {
  Mvcc mvcc;
  mvcc.Restore({}, 1);
  while (!input.empty()) {
    const auto length = std::min<size_t>(static_cast<uint8_t>(input[0]), input.size() - 1);
    const std::string body(input.substr(1, length));
    input.remove_prefix(1 + length);
    const Revision revision = mvcc.head() + 1;
    const auto changes = DecodeLogRow(revision, body + Fixed(Crc32c(body, Crc32c(Fixed(static_cast<uint64_t>(revision), 8))), 4));
    if (!changes.ok()) return CheckRefusal(changes.status());
    const Status replayed = mvcc.Replay(revision, *changes);
    if (!replayed.ok()) return CheckRefusal(replayed);
    for (const auto& kv : *changes) {
      const auto now = mvcc.Get(kv->key, revision);
      ISLA_CHECK(kv->version == 0 ? now == nullptr : now == kv);
    }
  }
  if (mvcc.head() < 2) return;
  mvcc.Compact(mvcc.head());
  std::vector<Mvcc::Version> garbage;
  while (mvcc.Prune(2, garbage)) {
  }
  std::vector<Mvcc::Version> left;
  std::string from;
  while (mvcc.List("", from, mvcc.head(), 3, left)) {
  }
  ISLA_CHECK(left.size() == mvcc.keys());
}

}  // namespace
}  // namespace isla::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace isla::store;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  CheckLogRow(input);
  CheckLogRow(std::string(input) + Fixed(isla::Crc32c(input, isla::Crc32c(Fixed(kRevision, 8))), 4));
  const std::string_view key = input.substr(0, std::min<size_t>(size, 3)), body = input.substr(key.size());
  CheckLiveRow(key, body);
  CheckLiveRow(key, std::string(body) + Fixed(isla::Crc32c(body, isla::Crc32c(key, isla::Crc32c(Fixed(key.size(), 8)))), 4));
  CheckHistory(input);
  return 0;
}
