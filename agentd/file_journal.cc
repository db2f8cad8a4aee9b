#include "agentd/file_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "api/base/log.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");

}  // namespace

StatusOr<std::unique_ptr<FileJournal>> FileJournal::Open(FileJournalOptions options, Mailbox& mailbox,
                                                         Timers& timers) {
  std::unique_ptr<FileJournal> journal(new FileJournal(std::move(options), mailbox, timers));
  RETURN_IF_ERROR(Annotate(journal->Load(), fmt::format("journal in '{}'", journal->options_.folder)));
  FileJournal* raw = journal.get();
  journal->writer_ = std::jthread([raw](const std::stop_token& stop) { raw->Write(stop); });
  return journal;
}

FileJournal::FileJournal(FileJournalOptions options, Mailbox& mailbox, Timers& timers)
    : options_(std::move(options)), mailbox_(mailbox), timers_(timers) {}

FileJournal::~FileJournal() {
  *alive_ = false;
  timers_.Cancel(retry_);
  {
    MutexLock lock(mu_);
    stop_ = true;
  }
  wake_.NotifyOne();
}

Status FileJournal::Load() {
  folder_.Reset(open(options_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_.valid()) return FromErrno(errno, "open the folder");
  lock_.Reset(openat(folder_.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_.valid()) return FromErrno(errno, "open the lock");
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Errorf(Code::kFailedPrecondition, "another isla-agentd uses this folder");
  }
  const std::string path = options_.folder + "/journal";
  auto bytes = ReadFile(path, size_t{1} << 30);
  if (!bytes.ok() && bytes.status().code() != Code::kNotFound) return bytes.status();
  if (bytes.ok()) {
    ASSIGN_OR_RETURN(Replay replay, ReplayJournal(*bytes));
    state_ = std::move(replay.state);
    torn_bytes_ = bytes->size() - replay.good_bytes;
    if (torn_bytes_ > 0) {
      RETURN_IF_ERROR(WriteFileAtomically(path + ".torn", std::string_view(*bytes).substr(replay.good_bytes), 0600,
                                          /*durable=*/false));
    }
  }
  const std::string snapshot = SnapshotBytes();
  live_bytes_ = snapshot.size();
  return Rewrite(snapshot);
}

std::string FileJournal::SnapshotBytes() const {
  std::string bytes;
  for (const auto& record : state_.Snapshot()) bytes += EncodeFrame(record);
  return bytes;
}

void FileJournal::Append(journal::Record record, std::function<void()> done) {
  state_.Apply(record);
  if (broken_) {
    if (done) held_.push_back(std::move(done));
    return;
  }
  std::string frame = EncodeFrame(record);
  {
    MutexLock lock(mu_);
    pending_.bytes += frame;
    pending_.sync |= static_cast<bool>(done);
    if (done) pending_.done.push_back(std::move(done));
    has_work_ = true;
  }
  wake_.NotifyOne();
}

void FileJournal::EnqueueRewrite() {
  rewriting_ = true;
  std::string bytes = SnapshotBytes();
  live_bytes_ = bytes.size();
  {
    MutexLock lock(mu_);
    // The snapshot has all that was appended before it: what still waits to be written is in it.
    pending_.bytes = std::move(bytes);
    pending_.rewrite = true;
    pending_.sync = true;
    for (auto& done : held_) pending_.done.push_back(std::move(done));
    has_work_ = true;
  }
  held_.clear();
  broken_ = false;
  wake_.NotifyOne();
}

void FileJournal::OnWritten(const Status& status, bool rewrite, size_t file_bytes,
                            std::vector<std::function<void()>> done) {
  if (rewrite) rewriting_ = false;
  if (!status.ok()) {
    if (health_.ok()) {
      kLog.Error("journal not written", "error='{}'; nothing new starts until the disk takes it", Message(status));
    }
    health_ = status;
    // Keep the callbacks, and whatever was queued behind: the state holds it all.
    for (auto& fn : done) held_.push_back(std::move(fn));
    {
      MutexLock lock(mu_);
      for (auto& fn : pending_.done) held_.push_back(std::move(fn));
      pending_ = {};
      has_work_ = false;
    }
    broken_ = true;
    if (retry_ == 0) {
      retry_ = timers_.After(options_.retry_after, [this] {
        retry_ = 0;
        EnqueueRewrite();
      });
    }
    return;
  }
  if (!health_.ok()) {
    kLog.Info("journal written again");
    health_ = OkStatus();
  }
  for (auto& fn : done) fn();
  if (!rewriting_ && !broken_ && file_bytes > options_.compact_above_bytes && file_bytes > 4 * live_bytes_) {
    EnqueueRewrite();
  }
}

void FileJournal::Write(std::stop_token) {
  bool failed = false;
  for (;;) {
    Work work;
    {
      MutexLock lock(mu_);
      while (!has_work_ && !stop_) wake_.Wait(mu_);
      if (!has_work_) return;
      work = std::exchange(pending_, {});
      has_work_ = false;
    }
    // After a failure only a rewrite may touch the disk: an append to the broken file proves nothing.
    Status status = failed && !work.rewrite ? Error(Code::kUnavailable, "the journal awaits a rewrite") : Perform(work);
    failed = !status.ok();
    // Any number of unsynced writes needs no word with the loop, unless they failed or the file has grown.
    const bool large = file_bytes_ > options_.compact_above_bytes;
    if (status.ok() && !work.sync && !large) continue;
    mailbox_.Post([this, alive = alive_, status, rewrite = work.rewrite, size = file_bytes_,
                   done = std::move(work.done)]() mutable {
      if (*alive) OnWritten(status, rewrite, size, std::move(done));
    });
  }
}

Status FileJournal::Perform(const Work& work) {
  if (work.rewrite) return Rewrite(work.bytes);
  RETURN_IF_ERROR(Annotate(WriteAll(file_.get(), work.bytes), "write"));
  file_bytes_ += work.bytes.size();
  if (work.sync && fdatasync(file_.get()) != 0) return FromErrno(errno, "fdatasync");
  return OkStatus();
}

Status FileJournal::Rewrite(const std::string& bytes) {
  UniqueFd file(openat(folder_.get(), "journal.new", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) return FromErrno(errno, "make journal.new");
  RETURN_IF_ERROR(Annotate(WriteAll(file.get(), bytes), "write journal.new"));
  if (fsync(file.get()) != 0) return FromErrno(errno, "fsync journal.new");
  if (renameat(folder_.get(), "journal.new", folder_.get(), "journal") != 0) return FromErrno(errno, "rename");
  if (fsync(folder_.get()) != 0) return FromErrno(errno, "fsync the folder");
  file_ = std::move(file);
  file_bytes_ = bytes.size();
  return OkStatus();
}

}  // namespace isla::agent
