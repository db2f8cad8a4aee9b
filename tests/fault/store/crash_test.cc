// kill -9 in a loop: a child process writes with many threads, reads, watches and compacts, and reports what it was told; it is
// killed at a random moment (also while it opens the store), and what is on the disk is compared with what it reported.
//
//   embedded_crash [--rounds=N] [--seed=N]      without --rounds: for ten seconds
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "api/base/unique_fd.h"
#include "store/embedded/embedded_store.h"
#include "tests/conformance/temporary_folder.h"
#include "tests/fault/store/workload.h"

namespace isla::store {
namespace {

using isla::testing::TemporaryFolder;
using std::chrono::milliseconds;

constexpr int kWriters = 8;

struct Arguments {
  int rounds = 0;
  uint64_t seed = std::random_device()();
};

Arguments& TheArguments() {
  static Arguments arguments;
  return arguments;
}

/// What the child was told, in one write to the pipe: whole or not at all.
struct Report {
  enum Kind : int32_t { kAcknowledged, kRead, kWatched };
  Kind kind = kAcknowledged;
  int32_t writer = 0;
  int64_t number = 0;
  Revision revision = 0;
};

void Send(int fd, const Report& report) { ISLA_CHECK(write(fd, &report, sizeof report) == sizeof report); }

// ---- the child -------------------------------------------------------------------------------------------

class ReportingWatcher final : public Watcher {
 public:
  explicit ReportingWatcher(int fd) : fd_(fd) {}
  void OnBatch(WatchBatch batch) override { Send(fd_, {Report::kWatched, 0, 0, batch.revision}); }
  void OnEnd(const Status&) override {}

 private:
  const int fd_;
};

void RunWriter(Store& store, int writer, int fd) {
  const Workload workload(writer);
  Revision unused = 0;
  const auto last = workload.Check(store, unused);
  ISLA_CHECK_OK(last);
  for (int64_t n = *last + 1;; ++n) {
    const auto result = store.Txn(workload.Make(n));
    ISLA_CHECK_OK(result);
    ISLA_CHECK(result->succeeded);
    Send(fd, {Report::kAcknowledged, writer, n, result->revision});
  }
}

void RunReader(Store& store, int fd, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (;;) {
    const int writer = std::uniform_int_distribution<int>(0, kWriters - 1)(random);
    const auto result = store.Get(Workload(writer).NumberKey());
    ISLA_CHECK_OK(result);
    if (result->kv != nullptr) Send(fd, {Report::kRead, writer, std::stoll(result->kv->value), result->revision});
    std::this_thread::sleep_for(milliseconds(1));
  }
}

[[noreturn]] void RunChild(const std::string& folder, int fd, uint64_t seed) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto opened = EmbeddedStore::Open(folder);
  ISLA_CHECK_OK(opened);
  Store& store = **opened;
  const auto lease = store.GrantLease(std::chrono::seconds(3600));
  Transaction leased;
  leased.success = {Operation::Put("/leased", "x", *lease)};
  ISLA_CHECK_OK(store.Txn(leased));
  ReportingWatcher watcher(fd);
  const auto watch = store.StartWatch({"", 0, false}, watcher);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) threads.emplace_back([&store, i, fd] { RunWriter(store, i, fd); });
  threads.emplace_back([&store, fd, seed] { RunReader(store, fd, seed); });
  for (;;) {
    const Revision now = store.Get("/")->revision;
    if (now > 200) store.Compact(now - 100).IgnoreError();
    std::this_thread::sleep_for(milliseconds(7));
  }
}

// ---- the parent ------------------------------------------------------------------------------------------

/// What must be on the disk.
struct Known {
  std::array<int64_t, kWriters> acknowledged{};  // number
  std::array<Revision, kWriters> revision_of{};  // of the acknowledged one
  Revision revision = 1;                         // the highest that anybody saw
};

void Take(const Report& report, Known& known) {
  const auto writer = static_cast<size_t>(report.writer);
  known.revision = std::max(known.revision, report.revision);
  if (report.kind == Report::kWatched) return;
  if (report.number > known.acknowledged[writer]) {
    known.acknowledged[writer] = report.number;
    // Whoever read it doesn't know at which revision it was written.
    known.revision_of[writer] = report.kind == Report::kAcknowledged ? report.revision : 0;
  } else if (report.number == known.acknowledged[writer] && report.kind == Report::kAcknowledged) {
    known.revision_of[writer] = report.revision;
  }
}

/// When the child is killed: so long after its start, or after its first report, when it has opened the store and all are at work.
struct Moment {
  bool at_work = false;
  std::chrono::microseconds after{0};
};

pid_t StartChild(const std::string& folder, uint64_t seed, int report_fd) {
  std::vector<std::string> arguments{"/proc/self/exe", "--child", folder, std::to_string(report_fd), std::to_string(seed)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  return child;
}

/// Starts a child, kills it at `moment`, and takes its reports. How long it took to the first of them; 0: none came.
std::chrono::microseconds RunAndKill(const std::string& folder, uint64_t seed, const Moment& moment, Known& known) {
  using Clk = std::chrono::steady_clock;
  int fds[2];
  ISLA_CHECK(pipe(fds) == 0);
  const UniqueFd in(fds[0]);
  UniqueFd out(fds[1]);
  fcntl(in.get(), F_SETFD, FD_CLOEXEC);
  const pid_t child = StartChild(folder, seed, out.get());
  out.Reset();
  const auto begin = Clk::now();
  std::chrono::microseconds first{0};
  auto kill_at = moment.at_work ? Clk::time_point::max() : begin + moment.after;
  for (bool killed = false;;) {
    pollfd ready{in.get(), POLLIN, 0};
    const auto left = killed || kill_at == Clk::time_point::max() ? std::chrono::nanoseconds(std::chrono::seconds(30))
                                                                  : std::max<std::chrono::nanoseconds>(kill_at - Clk::now(), {});
    const timespec timeout{left / std::chrono::seconds(1), (left % std::chrono::seconds(1)).count()};
    const int count = ppoll(&ready, 1, &timeout, nullptr);
    if (!killed && Clk::now() >= kill_at) {
      kill(child, SIGKILL);
      killed = true;
    }
    if (count <= 0) {
      if (killed || kill_at != Clk::time_point::max()) continue;
      ADD_FAILURE() << "the child doesn't come up";
      kill(child, SIGKILL);
      killed = true;
      continue;
    }
    Report report;
    if (read(in.get(), &report, sizeof report) != sizeof report) break;
    Take(report, known);
    if (first.count() == 0) {
      first = std::chrono::duration_cast<std::chrono::microseconds>(Clk::now() - begin);
      if (moment.at_work) kill_at = Clk::now() + moment.after;
    }
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the child ended by itself: status " << status;
  return first;
}

class Replayer final : public Watcher {
 public:
  void OnBatch(WatchBatch batch) override {
    MutexLock lock(mu_);
    for (const Event& event : batch.events) {
      if (event.type == Event::Type::kPut) {
        content_[event.kv->key] = event.kv->value;
      } else {
        EXPECT_EQ(content_.erase(event.kv->key), 1U);
      }
      EXPECT_LE(event.kv->mod_revision - last_, 1);
      last_ = event.kv->mod_revision;
    }
    changed_.NotifyAll();
  }
  void OnEnd(const Status&) override {}
  std::map<std::string, std::string> WaitFor(Revision revision) {
    MutexLock lock(mu_);
    while (last_ < revision) {
      if (!changed_.WaitFor(mu_, std::chrono::seconds(30))) break;
    }
    return content_;
  }
  std::map<std::string, std::string> content_;
  Revision last_ = 0;

 private:
  Mutex mu_;
  CondVar changed_;
};

/// The history that is left, from its first revision on, gives what is there now.
void CheckHistory(Store& store) {
  const Revision now = store.Get("/")->revision;
  ListOptions at;
  for (at.revision = std::max<Revision>(2, now - 90); at.revision < now; at.revision += 7) {
    const auto then = store.List("", at);
    if (!then.ok()) continue;  // compacted
    Replayer replayer;
    for (const auto& kv : then->kvs) replayer.content_[kv->key] = kv->value;
    replayer.last_ = at.revision;
    const auto watch = store.StartWatch({"", at.revision + 1, false}, replayer);
    std::map<std::string, std::string> content;
    const auto list = store.List("");
    ASSERT_TRUE(list.ok());
    for (const auto& kv : list->kvs) content[kv->key] = kv->value;
    EXPECT_EQ(replayer.WaitFor(now), content) << at.revision;
  }
}

void OpenAndCheck(const std::string& folder, Known& known, bool history) {
  const auto store = EmbeddedStore::Open(folder);
  ASSERT_TRUE(store.ok()) << ToString(store.status());
  const Revision revision = (*store)->Get("/")->revision;
  EXPECT_GE(revision, known.revision) << "the revision fell";
  known.revision = revision;
  EXPECT_EQ((*store)->Get("/leased")->kv, nullptr) << "a lease outlived its process";
  for (int i = 0; i < kWriters; ++i) {
    const auto writer = static_cast<size_t>(i);
    Revision revision_of = 0;
    const auto number = Workload(i).Check(**store, revision_of);
    ASSERT_TRUE(number.ok()) << ToString(number.status());
    EXPECT_GE(*number, known.acknowledged[writer]) << "writer " << i << ": an acknowledged transaction is lost";
    EXPECT_LE(*number, known.acknowledged[writer] + 1) << "writer " << i << ": a transaction that was never sent";
    if (*number == known.acknowledged[writer] && known.revision_of[writer] != 0) {
      EXPECT_EQ(revision_of, known.revision_of[writer]) << "writer " << i;
    }
    known.acknowledged[writer] = *number;
    known.revision_of[writer] = revision_of;
  }
  if (history) CheckHistory(**store);
}

TEST(EmbeddedCrash, Kill9AtAnyMomentLosesNothingThatWasAcknowledgedAndLeavesNothingHalfThere) {
  const Arguments arguments = TheArguments();
  SCOPED_TRACE(fmt::format("--seed={}", arguments.seed));
  std::mt19937_64 random(arguments.seed);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto more = [&arguments, until](int round) {
    return arguments.rounds > 0 ? round < arguments.rounds : std::chrono::steady_clock::now() < until;
  };
  TemporaryFolder folder;
  Known known;
  int round = 0;
  int64_t opening = 10'000;  // microseconds to a first report, as seen last
  for (; more(round) && !::testing::Test::HasFailure(); ++round) {
    // A third while it is opening, the others at work.
    Moment moment;
    moment.at_work = round % 3 != 2;
    moment.after = std::chrono::microseconds(std::uniform_int_distribution<int64_t>(0, moment.at_work ? 40'000 : opening)(random));
    const auto first = RunAndKill(folder.path() + "/store", random(), moment, known);
    if (moment.at_work && first.count() > 0) opening = first.count();
    if (::testing::Test::HasFailure()) break;
    OpenAndCheck(folder.path() + "/store", known, round % 10 == 9);
    if (arguments.rounds > 0 && round % 100 == 99) {
      std::printf("round %d: revision %ld\n", round + 1, static_cast<long>(known.revision));
      std::fflush(stdout);
    }
  }
  int64_t transactions = 0;
  for (const int64_t number : known.acknowledged) transactions += number;
  std::printf("%d rounds, seed %lu: revision %ld, %ld transactions\n", round, static_cast<unsigned long>(arguments.seed),
              static_cast<long>(known.revision), static_cast<long>(transactions));
  EXPECT_GT(transactions, round);
}

}  // namespace
}  // namespace isla::store

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "--child") {
    isla::store::RunChild(argv[2], std::stoi(argv[3]), std::stoull(argv[4]));
  }
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--rounds=")) isla::store::TheArguments().rounds = std::stoi(argument.substr(9));
    if (argument.starts_with("--seed=")) isla::store::TheArguments().seed = std::stoull(argument.substr(7));
  }
  return RUN_ALL_TESTS();
}
