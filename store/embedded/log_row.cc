#include "store/embedded/log_row.h"

#include <optional>
#include <utility>

#include "api/base/crc32c.h"

namespace isla::store {
namespace {

constexpr size_t kCrcBytes = 4;
constexpr uint8_t kPut = 1;
constexpr uint8_t kDelete = 2;

void PutNumber(std::string& out, int64_t number) {
  auto rest = static_cast<uint64_t>(number);
  for (; rest >= 0x80; rest >>= 7) out.push_back(static_cast<char>(0x80 | (rest & 0x7f)));
  out.push_back(static_cast<char>(rest));
}

void PutBytes(std::string& out, std::string_view bytes) {
  PutNumber(out, static_cast<int64_t>(bytes.size()));
  out += bytes;
}

void PutFixed(std::string& out, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>((number >> (8 * i)) & 0xff));
}

uint32_t LogRowCrc(Revision revision, std::string_view body) {
  std::string number;
  PutFixed(number, static_cast<uint64_t>(revision), 8);
  return Crc32c(body, Crc32c(number));
}

uint32_t LiveRowCrc(std::string_view key, std::string_view body) {
  std::string length;
  PutFixed(length, key.size(), 8);
  return Crc32c(body, Crc32c(key, Crc32c(length)));
}

uint32_t GetCrc(std::string_view bytes) {
  uint32_t crc = 0;
  for (size_t i = 0; i < kCrcBytes; ++i) crc |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return crc;
}

/// Takes a row apart from the front. After something that can't be, everything is empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::optional<uint8_t> Byte() {
    if (rest_.empty()) return std::nullopt;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }

  /// A number from 0 to the largest int64_t, in its shortest form.
  std::optional<int64_t> Number() {
    uint64_t number = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      const auto byte = Byte();
      if (!byte) return std::nullopt;
      number |= uint64_t{*byte & 0x7fU} << shift;
      if ((*byte & 0x80) == 0) return *byte == 0 && shift > 0 ? std::nullopt : std::optional(static_cast<int64_t>(number));
    }
    return std::nullopt;
  }

  std::optional<std::string_view> Bytes() {
    const auto length = Number();
    if (!length || static_cast<uint64_t>(*length) > rest_.size()) return std::nullopt;
    const std::string_view bytes = rest_.substr(0, static_cast<size_t>(*length));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// create_revision, version and lease of a key at `mod_revision`; false if they can't be.
bool ReadMetadata(Reader& reader, Revision mod_revision, KeyValue& kv) {
  const auto age = reader.Number(), version = reader.Number(), lease = reader.Number();
  if (!age || !version || !lease || *age >= mod_revision || *version < 1) return false;
  kv.mod_revision = mod_revision;
  kv.create_revision = mod_revision - *age;
  kv.version = *version;
  kv.lease = *lease;
  return true;
}

void PutMetadata(std::string& out, const KeyValue& kv) {
  PutNumber(out, kv.mod_revision - kv.create_revision);
  PutNumber(out, kv.version);
  PutNumber(out, kv.lease);
}

/// Null if the bytes aren't a change.
std::shared_ptr<const KeyValue> ReadChange(Reader& reader, Revision revision) {
  const auto kind = reader.Byte();
  const auto key = reader.Bytes();
  if (!kind || !key || key->empty()) return nullptr;
  auto kv = std::make_shared<KeyValue>();
  kv->key = *key;
  if (*kind == kDelete) {
    kv->mod_revision = revision;
    return kv;
  }
  if (*kind != kPut || !ReadMetadata(reader, revision, *kv)) return nullptr;
  const auto value = reader.Bytes();
  if (!value) return nullptr;
  kv->value = *value;
  return kv;
}

/// What the checksum is of; empty if there is no room for both.
std::string_view Body(std::string_view row) {
  return row.substr(0, row.size() > kCrcBytes ? row.size() - kCrcBytes : 0);
}

/// The row without version and checksum, which have been checked; `crc` is what the checksum should be.
StatusOr<std::string_view> CheckRow(std::string_view row, const std::string& what, uint32_t crc) {
  const std::string_view body = Body(row);
  if (body.empty()) return Errorf(Code::kDataLoss, "{} is cut: {} bytes", what, row.size());
  if (GetCrc(row.substr(body.size())) != crc) {
    return Errorf(Code::kDataLoss, "{} is damaged: its checksum is wrong", what);
  }
  const auto version = static_cast<uint8_t>(body[0]);
  if (version > kRowVersion) {
    return Errorf(Code::kFailedPrecondition, "{} is of version {}, this isla reads up to {}", what, version, kRowVersion);
  }
  if (version == 0) return Errorf(Code::kDataLoss, "{} is of version 0", what);
  return body.substr(1);
}

}  // namespace

std::string EncodeLogRow(Revision revision, const RowChanges& changes) {
  std::string row;
  row.push_back(static_cast<char>(kRowVersion));
  PutNumber(row, static_cast<int64_t>(changes.size()));
  for (const auto& kv : changes) {
    row.push_back(static_cast<char>(kv->version == 0 ? kDelete : kPut));
    PutBytes(row, kv->key);
    if (kv->version == 0) continue;
    PutMetadata(row, *kv);
    PutBytes(row, kv->value);
  }
  PutFixed(row, LogRowCrc(revision, row), kCrcBytes);
  return row;
}

StatusOr<RowChanges> DecodeLogRow(Revision revision, std::string_view row) {
  const std::string what = fmt::format("the row of revision {}", revision);
  ASSIGN_OR_RETURN(const std::string_view body, CheckRow(row, what, LogRowCrc(revision, Body(row))));
  Reader reader(body);
  RowChanges changes;
  const auto count = reader.Number();
  // A change is at least three bytes; what the count says is not believed before.
  if (revision < 2 || !count || *count < 1 || static_cast<uint64_t>(*count) > body.size() / 3) {
    return Errorf(Code::kDataLoss, "{} has no changes", what);
  }
  for (int64_t i = 0; i < *count; ++i) {
    changes.push_back(ReadChange(reader, revision));
    if (changes.back() == nullptr) return Errorf(Code::kDataLoss, "{}: change {} of {} makes no sense", what, i + 1, *count);
  }
  if (!reader.done()) return Errorf(Code::kDataLoss, "{} has bytes behind its last change", what);
  return changes;
}

std::string EncodeLiveRow(const KeyValue& kv) {
  std::string row;
  row.push_back(static_cast<char>(kRowVersion));
  PutNumber(row, kv.mod_revision);
  PutMetadata(row, kv);
  row += kv.value;
  PutFixed(row, LiveRowCrc(kv.key, row), kCrcBytes);
  return row;
}

StatusOr<std::shared_ptr<const KeyValue>> DecodeLiveRow(std::string_view key, std::string_view row) {
  const std::string what = fmt::format("the row of key '{}'", key);
  ASSIGN_OR_RETURN(const std::string_view body, CheckRow(row, what, LiveRowCrc(key, Body(row))));
  Reader reader(body);
  auto kv = std::make_shared<KeyValue>();
  const auto revision = reader.Number();
  if (key.empty() || !revision || !ReadMetadata(reader, *revision, *kv)) {
    return Errorf(Code::kDataLoss, "{} makes no sense", what);
  }
  kv->key = key;
  kv->value = reader.rest();
  return std::shared_ptr<const KeyValue>(std::move(kv));
}

}  // namespace isla::store
