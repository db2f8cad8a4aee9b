// The journal: what isla-agentd knows that must outlive it. Used by the loop thread only; the disk is written
// by another thread (file_journal.h), tests keep it in memory (fake_journal.h).
//
// Invariants
//   - A delta is durable before it is acknowledged and before any payload of it starts.
//   - An exit is durable before it is reported and before the container's cgroup, folders and ids are released.
//   - Records become durable in the order of Append: whoever sees a later one sees all earlier ones.
//   - The state is changed at once by Append; only what follows from durability waits for `done`.
// Reports are numbered by records that are not waited for: after a power loss the numbers of the last moments
// may be forgotten, so under a new boot the counter leaps by kSequenceLeap.
#pragma once

#include <isla/agent/journal.pb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "agentd/key.h"
#include "api/base/status.h"

namespace isla::agent {

inline constexpr uint32_t kJournalVersion = 1;
inline constexpr uint64_t kSequenceLeap = uint64_t{1} << 20;

struct JournalState {
  int64_t term = 0;
  std::string boot_id;  // of the agentd before this one
  uint64_t sequence = 0;
  uint64_t acked_sequence = 0;
  std::map<ContainerKey, journal::Entry> entries;

  void Apply(const journal::Record& record);
  /// Records that make this state from an empty one, each of moderate size.
  std::vector<journal::Record> Snapshot() const;
};

class Journal {
 public:
  virtual ~Journal() = default;
  virtual const JournalState& state() const = 0;
  /// Applies the record to the state, and writes it. With `done` it is written durably and `done` runs on the
  /// loop thread afterwards; without, it is written soon and survives agentd, not the machine. `done` may be
  /// late (the disk is full: the journal tries again until it isn't) but never runs for what isn't durable.
  virtual void Append(journal::Record record, std::function<void()> done) = 0;

  const journal::Entry* Find(const ContainerKey& key) const;
};

/// The frames of a journal file: length (4 bytes, little endian), CRC-32C of length and payload (4), payload.
std::string EncodeFrame(const journal::Record& record);

struct Replay {
  JournalState state;
  size_t records = 0;
  size_t good_bytes = 0;  // what follows is torn or damaged, and is ignored
};

/// Applies frames until the end or the first one that is cut or damaged (the tail that a crash left: all that
/// was ever synced lies before it). FAILED_PRECONDITION if the file is of a newer version.
StatusOr<Replay> ReplayJournal(std::string_view bytes);

}  // namespace isla::agent
