#include "controllers/islad/store_keeper.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "api/server/status_json.h"
#include "controllers/transfer/closing.h"
#include "controllers/transfer/exporter.h"
#include "controllers/transfer/importer.h"
#include "controllers/transfer/raw_keys.h"

namespace isla::islad {
namespace {

constexpr Duration kProgressEvery = std::chrono::milliseconds(500);
constexpr Duration kBarrierTimeout = std::chrono::seconds(5);

Status End() { return Error(Code::kOutOfRange, "the end"); }

/// Text on its way from a worker to a connection.
class Pieces {
 public:
  void Add(std::string piece) {
    {
      MutexLock lock(mu_);
      pieces_.push_back(std::move(piece));
    }
    Ring();
  }
  void Finish() {
    {
      MutexLock lock(mu_);
      over_ = true;
    }
    Ring();
  }
  StatusOr<std::string> Next() {
    MutexLock lock(mu_);
    if (pieces_.empty()) return over_ ? End() : Error(Code::kDeadlineExceeded, "nothing yet");
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }
  bool Wants() const {
    MutexLock lock(mu_);
    return !over_ && pieces_.size() < kPiecesAhead;
  }
  void Notify(std::function<void()> ready) {
    MutexLock lock(ready_mu_);
    ready_ = std::move(ready);
  }
  /// Nobody takes any more: after this `ready` isn't called.
  void Close() {
    Notify(nullptr);
    closed_ = true;
  }
  bool closed() const { return closed_; }
  void Ring() {
    MutexLock lock(ready_mu_);
    if (ready_) ready_();
  }

 private:
  std::atomic<bool> closed_{false};
  Mutex ready_mu_;  // held while ready_ runs
  std::function<void()> ready_ GUARDED_BY(ready_mu_);
  mutable Mutex mu_;
  std::deque<std::string> pieces_ GUARDED_BY(mu_);
  bool over_ GUARDED_BY(mu_) = false;
};

class ExportStream final : public server::BodyStream {
 public:
  ExportStream(server::WorkerPool& pool, std::unique_ptr<transfer::Exporter> exporter, std::shared_ptr<void> ticket)
      : pool_(pool), job_(std::make_shared<Job>()) {
    job_->exporter = std::move(exporter);
    job_->ticket = std::move(ticket);
  }
  ~ExportStream() override { job_->pieces.Close(); }

  StatusOr<std::string> Next() override {
    StatusOr<std::string> piece = job_->pieces.Next();
    if (job_->pieces.Wants() && !job_->busy.exchange(true)) {
      // A pool that is full or has stopped: the client sees a text without an end.
      if (!pool_.Submit([job = job_] { Fetch(job); })) return Error(Code::kUnavailable, "this islad is busy or stopping");
    }
    return piece;
  }
  void Notify(std::function<void()> ready) override { job_->pieces.Notify(std::move(ready)); }
  std::optional<Duration> WakeAfter() const override { return std::nullopt; }
  bool MayEndAnywhere() const override { return false; }

 private:
  struct Job {
    std::unique_ptr<transfer::Exporter> exporter;  // of who set busy
    std::shared_ptr<void> ticket;
    std::atomic<bool> busy{false};
    Pieces pieces;
  };

  static void Fetch(const std::shared_ptr<Job>& job) {
    if (job->pieces.closed()) return;
    std::string piece = job->exporter->Next();
    if (piece.empty()) return job->pieces.Finish();
    job->pieces.Add(std::move(piece));
    job->busy = false;
    // Who took the piece before that didn't ask for the next.
    if (job->pieces.Wants()) job->pieces.Ring();
  }

  server::WorkerPool& pool_;
  const std::shared_ptr<Job> job_;
};

/// A file without a name: gone when it is closed, however this process ends.
class Spool final : public server::BodySink {
 public:
  Spool(UniqueFd fd, std::shared_ptr<void> ticket) : fd_(std::move(fd)), ticket_(std::move(ticket)) {}

  Status Write(std::string_view bytes) override {
    bytes_ += bytes.size();
    if (bytes_ > kMaxUploadBytes) {
      return Errorf(Code::kResourceExhausted, "the file is larger than {} bytes", kMaxUploadBytes);
    }
    return Annotate(WriteAll(fd_.get(), bytes), "keep the uploaded file");
  }
  int fd() const { return fd_.get(); }

 private:
  const UniqueFd fd_;
  const std::shared_ptr<void> ticket_;
  uint64_t bytes_ = 0;
};

StatusOr<UniqueFd> OpenSpool(const std::string& folder) {
  UniqueFd fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  // Not every file system can (overlayfs before 6.1, NFS).
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
    return FromErrno(errno, "make a file in '" + folder + "'");
  }
  RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  std::string path = folder + "/upload-XXXXXX";
  fd.Reset(mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid()) return FromErrno(errno, "make a file in '" + folder + "'");
  if (unlink(path.c_str()) != 0) return FromErrno(errno, "unlink '" + path + "'");
  return fd;
}

std::string Line(std::string_view name, json::Value value) {
  json::Value line = json::Value::MakeObject();
  line.Set(name, std::move(value));
  return json::Serialize(line) + "\n";
}

class ImportStream final : public server::BodyStream {
 public:
  explicit ImportStream(std::shared_ptr<Pieces> pieces) : pieces_(std::move(pieces)) {}
  ~ImportStream() override { pieces_->Close(); }
  StatusOr<std::string> Next() override { return pieces_->Next(); }
  void Notify(std::function<void()> ready) override { pieces_->Notify(std::move(ready)); }
  std::optional<Duration> WakeAfter() const override { return std::nullopt; }
  bool MayEndAnywhere() const override { return false; }

 private:
  const std::shared_ptr<Pieces> pieces_;
};

json::Value ClusterJson(const registry::ClusterRecord& cluster) {
  return json::Value::MakeObject(
      {{"sealed", cluster.closed.has_value()}, {"cluster", cluster.id}, {"epoch", cluster.epoch}});
}

}  // namespace

StoreKeeper::StoreKeeper(store::Store& store, store::WatchCache& cache, const Clock& clock, store::Keys keys,
                         std::string spool_dir)
    : store_(store),
      cache_(cache),
      clock_(clock),
      keys_(std::move(keys)),
      spool_dir_(std::move(spool_dir)),
      readers_(2, size_t{kMaxExports}),
      writer_(1, 1) {}

StoreKeeper::~StoreKeeper() {
  stop_.Request();
  readers_.Stop();
  writer_.Stop();
}

StoreKeeper::Ticket StoreKeeper::Take(const std::shared_ptr<std::atomic<int>>& count, int most) {
  if (count->fetch_add(1) >= most) {
    count->fetch_sub(1);
    return nullptr;
  }
  return Ticket(count.get(), [count](void*) { count->fetch_sub(1); });
}

StatusOr<std::unique_ptr<server::BodyStream>> StoreKeeper::Export(const registry::Caller& caller) {
  Ticket ticket = Take(exports_, kMaxExports);
  if (ticket == nullptr) return Errorf(Code::kResourceExhausted, "{} exports are being read already", kMaxExports);
  transfer::ExporterOptions options;
  options.keys = keys_;
  options.by = caller.user;
  // Behind the barrier the cache has seen the store as it is now, and knows whether that is the history it knew.
  options.history = [this]() -> StatusOr<int64_t> {
    RETURN_IF_ERROR(cache_.ReadBarrier(kBarrierTimeout));
    return cache_.epoch();
  };
  auto exporter = std::make_unique<transfer::Exporter>(store_, clock_, std::move(options));
  RETURN_IF_ERROR(exporter->Begin());
  return std::unique_ptr<server::BodyStream>(
      std::make_unique<ExportStream>(readers_, std::move(exporter), std::move(ticket)));
}

StatusOr<std::shared_ptr<server::BodySink>> StoreKeeper::BeginUpload(const registry::Caller&) {
  Ticket ticket = Take(uploads_, kMaxUploads);
  if (ticket == nullptr) return Errorf(Code::kResourceExhausted, "{} files are being uploaded already", kMaxUploads);
  ASSIGN_OR_RETURN(UniqueFd fd, OpenSpool(spool_dir_));
  return std::shared_ptr<server::BodySink>(std::make_shared<Spool>(std::move(fd), std::move(ticket)));
}

StatusOr<std::unique_ptr<server::BodyStream>> StoreKeeper::Import(const registry::Caller& caller,
                                                                  std::shared_ptr<server::BodySink> uploaded,
                                                                  const server::StoreImport& asked) {
  Ticket ticket = Take(imports_, 1);
  if (ticket == nullptr) return Error(Code::kAborted, "another import is under way in this islad");
  const auto spool = std::dynamic_pointer_cast<Spool>(std::move(uploaded));
  ISLA_CHECK(spool != nullptr);
  transfer::ImportOptions options;
  options.by = caller.user;
  options.dry_run = asked.dry_run;
  options.replace = asked.replace;
  options.keep_invalid = asked.keep_invalid;
  const auto pieces = std::make_shared<Pieces>();
  const bool accepted = writer_.Submit([this, pieces, spool, options, ticket = std::move(ticket)]() mutable {
    MonotonicTime told{};
    const auto progress = [this, &pieces, &told](std::string_view phase, uint64_t done, uint64_t all) {
      const MonotonicTime now = clock_.Monotonic();
      // Who doesn't read is told less, never more.
      if (now - told < kProgressEvery || !pieces->Wants()) return;
      told = now;
      pieces->Add(Line("progress", json::Value::MakeObject({{"phase", phase}, {"done", done}, {"all", all}})));
    };
    const auto result = transfer::Importer(store_, clock_, stop_, keys_, options, progress).Run(spool->fd());
    ticket.reset();  // before the client knows, who may come again at once
    pieces->Add(result.ok() ? Line("result", transfer::ToJson(*result))
                            : Line("error", server::ErrorObject(result.status(), {})));
    pieces->Finish();
  });
  if (!accepted) return Error(Code::kUnavailable, "this islad is busy or stopping");
  return std::unique_ptr<server::BodyStream>(std::make_unique<ImportStream>(pieces));
}

StatusOr<json::Value> StoreKeeper::Seal(const registry::Caller& caller) {
  ASSIGN_OR_RETURN(const registry::ClusterRecord cluster, transfer::Seal(store_, keys_, clock_, caller.user));
  log_.Warn("the store is sealed", "by='{}' cluster={} epoch={}", caller.user, cluster.id, cluster.epoch);
  return ClusterJson(cluster);
}

StatusOr<json::Value> StoreKeeper::Unseal(const registry::Caller& caller) {
  ASSIGN_OR_RETURN(const registry::ClusterRecord cluster, transfer::Unseal(store_, keys_));
  log_.Warn("the store is open", "by='{}' cluster={} epoch={}", caller.user, cluster.id, cluster.epoch);
  return ClusterJson(cluster);
}

StatusOr<server::StoreKey> StoreKeeper::GetKey(const std::string& key) {
  transfer::RawKeys raw(store_, keys_);
  ASSIGN_OR_RETURN(store::KeyValue kv, raw.Get(key));
  return server::StoreKey{key, std::string(raw.ClassOf(key)), std::move(kv)};
}

StatusOr<server::StoreKeys> StoreKeeper::ListKeys(const std::string& prefix, const std::string& after, size_t limit) {
  transfer::RawKeys raw(store_, keys_);
  ASSIGN_OR_RETURN(const transfer::KeyPage page, raw.List(prefix, after, limit));
  server::StoreKeys keys;
  keys.revision = page.revision;
  keys.more = page.more;
  for (const auto& kv : page.kvs) {
    std::string key = kv->key.substr(keys_.prefix().size());
    std::string key_class(raw.ClassOf(key));
    keys.keys.push_back({std::move(key), std::move(key_class), *kv});
  }
  return keys;
}

StatusOr<server::StoreKey> StoreKeeper::PutKey(const registry::Caller& caller, const std::string& key,
                                               const std::string& value, const server::StorePut& asked) {
  transfer::RawKeys raw(store_, keys_);
  transfer::PutOptions options;
  options.by = caller.user;
  options.revision = asked.revision;
  options.force = asked.force;
  options.dry_run = asked.dry_run;
  ASSIGN_OR_RETURN(store::KeyValue kv, raw.Put(key, value, options));
  return server::StoreKey{key, std::string(raw.ClassOf(key)), std::move(kv)};
}

}  // namespace isla::islad
