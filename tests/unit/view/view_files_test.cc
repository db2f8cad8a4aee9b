#include "sandbox/view/view_files.h"

#include <gmock/gmock.h>

namespace isla::view {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(WholeCpus, RoundsUpAndIsNeverNone) {
  EXPECT_EQ(WholeCpus(0), 1u);
  EXPECT_EQ(WholeCpus(1), 1u);
  EXPECT_EQ(WholeCpus(1000), 1u);
  EXPECT_EQ(WholeCpus(1001), 2u);
  EXPECT_EQ(WholeCpus(2500), 3u);
}

TEST(CpuList, IsWrittenAsTheKernelDoes) {
  EXPECT_EQ(CpuList({0}), "0\n");
  EXPECT_EQ(CpuList({0, 1, 2}), "0-2\n");
  EXPECT_EQ(CpuList({1, 3, 4, 9}), "1,3-4,9\n");
  EXPECT_EQ(CpuList({}), "\n");
}

TEST(FirstCpus, AreOfTheRealMask) {
  EXPECT_EQ(FirstCpus(1).size(), 1u);
  EXPECT_LE(FirstCpus(100'000).size(), 1024u);
}

constexpr char kCpuInfo[] =
    "processor\t: 0\nmodel name\t: A\n\n"
    "processor\t: 1\nmodel name\t: B\n\n"
    "processor\t: 10\nmodel name\t: C\n\n";

TEST(CpuInfo, KeepsTheBlocksOfTheGranted) {
  EXPECT_EQ(CpuInfo(kCpuInfo, {0}), "processor\t: 0\nmodel name\t: A\n\n");
  EXPECT_EQ(CpuInfo(kCpuInfo, {1, 10}), "processor\t: 1\nmodel name\t: B\n\nprocessor\t: 10\nmodel name\t: C\n\n");
}

TEST(Stat, AddsUpWhatIsLeft) {
  const std::string shown = Stat("cpu  111 222 0 0 0 0 0 0 0 0\ncpu0 1 2 0 0 0 0 0 0 0 0\ncpu1 10 20 0 0 0 0 0 0 0 0\ncpu10 100 200 0 0 0 0 0 0 0 0\nintr 5\nbtime 7\n", {0, 10});
  EXPECT_EQ(shown, "cpu  101 202 0 0 0 0 0 0 0 0\ncpu0 1 2 0 0 0 0 0 0 0 0\ncpu10 100 200 0 0 0 0 0 0 0 0\nintr 5\nbtime 7\n");
}

TEST(MemInfo, NothingExceedsTheGrant) {
  const std::string shown = MemInfo("MemTotal:       24683520 kB\nMemFree:        20000000 kB\nMemAvailable:   23000000 kB\nCached:  5 kB\n"
                                    "Active:         900000 kB\nSwapTotal:      100 kB\nVmallocTotal:   34359738367 kB\nHugePages_Total:  0\n",
                                    512 << 20, 100 << 20);
  EXPECT_THAT(shown, HasSubstr("MemTotal:         524288 kB\n"));
  EXPECT_THAT(shown, HasSubstr("MemFree:          421888 kB\n"));
  EXPECT_THAT(shown, HasSubstr("MemAvailable:     421888 kB\n"));
  EXPECT_THAT(shown, HasSubstr("Active:           102400 kB\n"));
  EXPECT_THAT(shown, HasSubstr("SwapTotal:             0 kB\n"));
  EXPECT_THAT(shown, HasSubstr("VmallocTotal:   34359738367 kB\n"));
  EXPECT_THAT(shown, HasSubstr("HugePages_Total:  0\n"));
  EXPECT_THAT(shown, Not(HasSubstr("24683520")));
}

TEST(GrantedFiles, AreThoseOfThisMachine) {
  const StatusOr<std::vector<ViewFile>> files = GrantedFiles({.cpus = FirstCpus(1), .memory_bytes = 1 << 20});
  ASSERT_TRUE(files.ok());
  std::vector<std::string> paths;
  for (const ViewFile& file : *files) paths.push_back(file.path);
  EXPECT_THAT(paths, ElementsAre("/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible", "/sys/devices/system/cpu/present",
                                 "/proc/cpuinfo", "/proc/stat", "/proc/meminfo"));
  EXPECT_TRUE(GrantedFiles({})->empty());
}

}  // namespace
}  // namespace isla::view
