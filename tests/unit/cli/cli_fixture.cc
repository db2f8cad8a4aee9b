#include "tests/unit/cli/cli_fixture.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace isla::testing {

TestIo::TestIo() : interrupts_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

void TestIo::Out(std::string_view text) {
  MutexLock lock(mu_);
  out_ += text;
}
void TestIo::Err(std::string_view text) {
  MutexLock lock(mu_);
  err_ += text;
}
std::string TestIo::out() const {
  MutexLock lock(mu_);
  return out_;
}
std::string TestIo::err() const {
  MutexLock lock(mu_);
  return err_;
}
std::optional<std::string> TestIo::Env(const std::string& name) const {
  const auto it = env.find(name);
  if (it == env.end()) return std::nullopt;
  return it->second;
}
void TestIo::Interrupt() {
  const uint64_t one = 1;
  EXPECT_EQ(write(interrupts_.get(), &one, sizeof one), 8);
}

Result CliTest::Isla(std::vector<std::string> args, const std::string& input) {
  TestIo io;
  io.input = input;
  args.insert(args.begin() + (args.empty() ? 0 : 1), "--socket=" + api_.socket());
  Result result;
  result.code = cli::Main(args, io);
  result.out = io.out();
  result.err = io.err();
  return result;
}

std::string CliTest::File(const std::string& name, const std::string& text) {
  const std::string path = Folder() + "/" + name;
  EXPECT_TRUE(MakeDirectories(path.substr(0, path.rfind('/')), 0700).ok());
  EXPECT_TRUE(WriteFileAtomically(path, text, 0600, false).ok());
  return path;
}

Background::Background(FakeApi& api, std::vector<std::string> args) {
  args.insert(args.begin() + 1, "--socket=" + api.socket());
  io_.CatchInterrupts();  // so that Interrupt() ends any command
  thread_ = std::thread([this, args] { code_ = cli::Main(args, io_); });
}

Background::~Background() {
  if (thread_.joinable()) thread_.join();
}

int Background::Join() {
  thread_.join();
  return code_;
}

namespace {
template <typename Look>
bool Eventually(Look look) {
  for (int i = 0; i < 1000; ++i) {
    if (look()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}
}  // namespace

bool Background::SeesOut(const std::string& text) {
  return Eventually([this, &text] { return io_.out().find(text) != std::string::npos; });
}
bool Background::SeesErr(const std::string& text) {
  return Eventually([this, &text] { return io_.err().find(text) != std::string::npos; });
}

}  // namespace isla::testing
