// Runs isla-box as a process, with everything it prints, under a time limit: for the tests in this folder and in tests/e2e/programs. Its two
// programs are in a folder of the test's own that every user may enter, so that they can be run as an ordinary user.
#pragma once

#include <sys/types.h>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace isla::e2e {

struct BoxResult {
  int exit = -1;  // as waitpid tells: 128 + signal if it was killed; -1: it took too long
  std::string out, err;
};

struct BoxStart {
  uid_t uid = 0;            // 0: as we are
  std::string input = {};   // "": /dev/null
  std::string folder = {};  // to start in
  bool drop_admin = false;  // without CAP_SYS_ADMIN, as root in a container
  std::chrono::seconds limit{20};  // for all that is waited for
};

/// A running isla-box, or another program, looked for on PATH. Killed by the destructor.
class BoxProcess {
 public:
  BoxProcess(const std::vector<std::string>& words, const BoxStart& start = {});
  ~BoxProcess();
  BoxProcess(const BoxProcess&) = delete;
  BoxProcess& operator=(const BoxProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// Reads until its output has this text. False after the limit, or at the end.
  bool WaitForOutput(const std::string& text);
  /// Reads until nobody has its output open, and unless `out_only` its errors. False after the limit.
  bool WaitForEndOfOutput(bool out_only = false);
  /// Waits for the end, at most for the limit.
  BoxResult Finish();

 private:
  bool ReadSome(int milliseconds);

  const std::chrono::seconds limit_;
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  BoxResult result_;
};

/// A folder for one test, and the programs in it.
class BoxFolder {
 public:
  BoxFolder();
  ~BoxFolder();
  BoxFolder(const BoxFolder&) = delete;
  BoxFolder& operator=(const BoxFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string box() const { return path_ + "/bin/isla-box"; }
  std::string Write(const std::string& name, const std::string& text) const;
  /// A policy: `spec` is the inside of its spec.
  std::string Policy(const std::string& spec, const std::string& name = "policy.json") const { return Write(name, R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"t"},"spec":{)" + spec + "}}"); }
  BoxResult Run(std::vector<std::string> words, const BoxStart& start = {}) const;

 private:
  std::string path_;
};

/// Runs programs in a folder of the test's own, in a box and without one.
class BoxTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kPatience{120};

  const std::string& folder() const { return folder_.path(); }
  std::string Path(const std::string& name) const { return folder() + "/" + name; }
  void Write(const std::string& name, const std::string& text) const { folder_.Write(name, text); }
  std::string Box() const { return folder_.box(); }
  /// A program that the build makes for tests.
  static std::string Probe(const std::string& name);

  BoxResult Bare(const std::vector<std::string>& argv, std::chrono::seconds limit = kPatience) const;
  /// isla-box run FLAGS -- argv.
  BoxResult Boxed(const std::vector<std::string>& flags, const std::vector<std::string>& argv, std::chrono::seconds limit = kPatience) const;
  /// isla-box learn -o policy -- argv.
  BoxResult Learn(const std::string& policy, const std::vector<std::string>& argv) const;

 private:
  BoxFolder folder_;
};

/// For assertions: what a command printed and how it ended.
std::string Describe(const BoxResult& result);

/// A program that scripts/packages.test names isn't there: the test fails and says so. Debian's own is taken, whatever else is on PATH.
std::string Program(const std::string& name);

/// Control sockets are in the folder while it lives, beside those of other runs.
class OwnSockets {
 public:
  explicit OwnSockets(const BoxFolder& folder);
  ~OwnSockets();
  OwnSockets(const OwnSockets&) = delete;
  OwnSockets& operator=(const OwnSockets&) = delete;
};

/// The children of a process, from /proc.
std::vector<pid_t> Children(pid_t of);
/// A script for sh that says "ready", and runs `command` at each Poke() of `fifo`, until it is killed.
std::string AtEachPoke(const std::string& fifo, const std::string& command);
/// Fails the test if nobody reads from the fifo.
void Poke(const std::string& fifo);
/// Waits up to a minute until it is true.
bool Eventually(bool (*check)(void*), void* argument);
template <typename Check>
bool Eventually(Check check) {
  return Eventually([](void* argument) { return (*static_cast<Check*>(argument))(); }, &check);
}

}  // namespace isla::e2e
