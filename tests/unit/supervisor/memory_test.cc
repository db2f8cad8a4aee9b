#include "sandbox/supervisor/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstring>

#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

/// Our own memory, seen as a caller's: the call that waits is a prey's.
class CallerMemoryTest : public testing::Test {
 protected:
  CallerMemoryTest() : prey_({.notified = {SYS_getpriority}}, {"once", "1"}), listener_(prey_.TakeListener()) {
    EXPECT_EQ(listener_.Receive(&call_), Listener::Received::kCall);
    page_ = static_cast<size_t>(getpagesize());
    memory_ = static_cast<char*>(mmap(nullptr, 3 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(hole(), page_, PROT_NONE);
  }
  ~CallerMemoryTest() override { munmap(memory_, 3 * page_); }
  char* hole() const { return memory_ + 2 * page_; }
  CallerMemory Own() const { return {listener_, call_.id, getpid()}; }
  static uint64_t At(const char* address) { return reinterpret_cast<uint64_t>(address); }

  Prey prey_;
  Listener listener_;
  seccomp_notif call_{};
  size_t page_ = 0;
  char* memory_ = nullptr;
};

TEST_F(CallerMemoryTest, AStringMayEndJustBeforeAPageThatIsNotThere) {
  std::string text;
  std::strcpy(hole() - 4, "abc");
  EXPECT_EQ(Own().ReadString(At(hole() - 4), PATH_MAX, text), 0);
  EXPECT_EQ(text, "abc");
}

TEST_F(CallerMemoryTest, AStringMayCrossPages) {
  std::string text;
  const std::string long_one(page_ - 100, 'p');
  std::strcpy(memory_ + 200, long_one.c_str());
  EXPECT_EQ(Own().ReadString(At(memory_ + 200), PATH_MAX, text), 0);
  EXPECT_EQ(text, long_one);
}

TEST_F(CallerMemoryTest, AStringThatRunsIntoAHoleIsAFault) {
  std::string text;
  std::memset(hole() - 4, 'x', 4);
  EXPECT_EQ(Own().ReadString(At(hole() - 4), PATH_MAX, text), EFAULT);
  EXPECT_EQ(Own().ReadString(0, PATH_MAX, text), EFAULT);
  EXPECT_EQ(Own().ReadString(~uint64_t{0}, PATH_MAX, text), EFAULT);
}

TEST_F(CallerMemoryTest, AStringWithoutEndStopsAtTheLimit) {
  std::string text;
  std::memset(memory_, 'x', page_);
  memory_[100] = '\0';
  EXPECT_EQ(Own().ReadString(At(memory_), 100, text), ENAMETOOLONG);
  EXPECT_EQ(Own().ReadString(At(memory_), 101, text), 0);
  EXPECT_EQ(text.size(), 100u);
}

TEST_F(CallerMemoryTest, WritesDoNotGoIntoReadOnlyPages) {
  mprotect(memory_, page_, PROT_READ);
  EXPECT_EQ(Own().Write(At(memory_), "x", 1), EFAULT);
  EXPECT_EQ(Own().Write(At(memory_ + page_), "xyz", 3), 0);
  EXPECT_STREQ(memory_ + page_, "xyz");
  EXPECT_EQ(Own().Write(At(hole() - 1), "xyz", 3), EFAULT);
}

TEST_F(CallerMemoryTest, NothingIsReadOrWrittenOnceTheCallIsGone) {
  std::string text;
  std::strcpy(memory_, "still here");
  listener_.Reply(call_.id, 0);
  EXPECT_EQ(Own().ReadString(At(memory_), PATH_MAX, text), ESRCH);
  EXPECT_EQ(Own().Read(At(memory_), text.data(), 0), ESRCH);
  EXPECT_EQ(Own().Write(At(memory_), "x", 1), ESRCH);
  EXPECT_STREQ(memory_, "still here");
}

}  // namespace
}  // namespace isla::supervisor
