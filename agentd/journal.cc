#include "agentd/journal.h"

#include <algorithm>
#include <utility>

#include "api/base/crc32c.h"

namespace isla::agent {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxRecordBytes = size_t{64} << 20;
constexpr int kEntriesPerRecord = 64;

void PutU32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((value >> shift) & 0xff);
}

uint32_t GetU32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

template <typename Ref>
ContainerKey KeyOf(const Ref& ref) {
  return {ref.uid(), ref.incarnation()};
}

}  // namespace

void JournalState::Apply(const journal::Record& record) {
  term = std::max(term, record.term());
  if (!record.boot_id().empty()) boot_id = record.boot_id();
  sequence = std::max(sequence, record.sequence());
  acked_sequence = std::max(acked_sequence, record.acked_sequence());
  for (const auto& entry : record.puts()) entries[KeyOf(entry.desired())] = entry;
  for (const auto& ref : record.removes()) entries.erase(KeyOf(ref));
  for (const auto& reported : record.reported()) {
    sequence = std::max(sequence, reported.sequence());
    const auto it = entries.find(KeyOf(reported));
    if (it == entries.end()) continue;
    it->second.set_report_sequence(reported.sequence());
    it->second.set_reported_state(reported.state());
  }
}

std::vector<journal::Record> JournalState::Snapshot() const {
  std::vector<journal::Record> records(1);
  records[0].set_version(kJournalVersion);
  records[0].set_term(term);
  records[0].set_boot_id(boot_id);
  records[0].set_sequence(sequence);
  records[0].set_acked_sequence(acked_sequence);
  for (const auto& [key, entry] : entries) {
    if (records.back().puts_size() >= kEntriesPerRecord) records.emplace_back();
    *records.back().add_puts() = entry;
  }
  return records;
}

const journal::Entry* Journal::Find(const ContainerKey& key) const {
  const auto it = state().entries.find(key);
  return it == state().entries.end() ? nullptr : &it->second;
}

std::string EncodeFrame(const journal::Record& record) {
  const std::string payload = record.SerializeAsString();
  std::string out;
  out.reserve(kHeaderBytes + payload.size());
  PutU32(out, static_cast<uint32_t>(payload.size()));
  const uint32_t crc = Crc32c(payload, Crc32c(out));
  PutU32(out, crc);
  return out + payload;
}

StatusOr<Replay> ReplayJournal(std::string_view bytes) {
  Replay replay;
  while (bytes.size() - replay.good_bytes >= kHeaderBytes) {
    const std::string_view rest = bytes.substr(replay.good_bytes);
    const size_t length = GetU32(rest);
    if (length > kMaxRecordBytes || length > rest.size() - kHeaderBytes) break;
    const std::string_view payload = rest.substr(kHeaderBytes, length);
    if (Crc32c(payload, Crc32c(rest.substr(0, 4))) != GetU32(rest.substr(4))) break;
    journal::Record record;
    if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) break;
    if (record.version() > kJournalVersion) {
      return Errorf(Code::kFailedPrecondition, "the journal is of version {}, this isla-agentd reads up to {}",
                    record.version(), kJournalVersion);
    }
    replay.state.Apply(record);
    ++replay.records;
    replay.good_bytes += kHeaderBytes + length;
  }
  return replay;
}

}  // namespace isla::agent
