// The journal on disk: <state-dir>/journal, appended to by a writer thread that syncs a whole batch at once.
//
// The loop thread never waits for the disk. Appends that arrive while a sync is under way share the next one.
// When the file has grown, it is written anew from the state (journal.new), synced, renamed over the old one.
// The same is the way out of a failed write or sync: what a failed fsync left in the page cache can't be
// trusted, so nothing more is appended to that file; the state is written anew until the disk takes it, and
// only then do the waiting callbacks run.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agentd/journal.h"
#include "agentd/loop.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"

namespace isla::agent {

struct FileJournalOptions {
  std::string folder;
  size_t compact_above_bytes = size_t{4} << 20;  // and above four times the live state
  Duration retry_after = std::chrono::seconds(1);
};

class FileJournal final : public Journal {
 public:
  /// Reads the journal in `folder` (which must exist), rewrites it compactly and starts the writer. Blocks. A
  /// damaged tail is kept as `journal.torn`. FAILED_PRECONDITION: a newer version's, or another process has it.
  /// `mailbox` must outlive this.
  static StatusOr<std::unique_ptr<FileJournal>> Open(FileJournalOptions options, Mailbox& mailbox, Timers& timers);
  /// Writes and syncs what was appended, then ends the writer. Callbacks that haven't run never do.
  ~FileJournal() override;

  const JournalState& state() const override { return state_; }
  void Append(journal::Record record, std::function<void()> done) override;

  /// Bytes of a damaged tail that Open dropped.
  size_t torn_bytes() const { return torn_bytes_; }
  /// The error that the disk last gave, while it has not taken a write since. Loop thread.
  const Status& health() const { return health_; }

 private:
  struct Work {
    std::string bytes;
    bool rewrite = false;  // bytes are a whole new file
    bool sync = false;
    std::vector<std::function<void()>> done;
  };

  FileJournal(FileJournalOptions options, Mailbox& mailbox, Timers& timers);
  Status Load();
  void Write(std::stop_token stop);
  Status Perform(const Work& work);
  Status Rewrite(const std::string& bytes);
  // Loop thread: outcome of one batch.
  void OnWritten(const Status& status, bool rewrite, size_t file_bytes, std::vector<std::function<void()>> done);
  void EnqueueRewrite();
  std::string SnapshotBytes() const;

  const FileJournalOptions options_;
  Mailbox& mailbox_;
  Timers& timers_;

  // Loop thread.
  JournalState state_;
  Status health_;
  size_t torn_bytes_ = 0;
  size_t live_bytes_ = 0;   // of the last snapshot
  bool rewriting_ = false;  // a rewrite is queued or under way
  bool broken_ = false;     // appends are kept in the state alone until a rewrite succeeds
  std::vector<std::function<void()>> held_;  // done when the next rewrite is
  TimerId retry_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  // Writer thread (and Open, before it starts).
  UniqueFd folder_;
  UniqueFd lock_;
  UniqueFd file_;
  size_t file_bytes_ = 0;

  Mutex mu_;
  CondVar wake_;
  Work pending_ GUARDED_BY(mu_);
  bool has_work_ GUARDED_BY(mu_) = false;
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread writer_;
};

}  // namespace isla::agent
