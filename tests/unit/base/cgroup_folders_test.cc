#include "api/base/cgroup_folders.h"

#include <gtest/gtest.h>

namespace isla {
namespace {

TEST(FindCgroups, PureV2) {
  const auto found = FindCgroups("0::/isla.slice/isla-x.scope\n",
                                 "25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].controllers, "");
  EXPECT_EQ(found[0].path, "/sys/fs/cgroup/isla.slice/isla-x.scope");
}

TEST(FindCgroups, V1WithJoinedControllersBesideAnEmptyV2) {
  const auto found = FindCgroups(
      "5:memory:/a.scope\n3:cpu,cpuacct:/a.scope\n2:pids:/\n1:name=systemd:/a.scope\n0::/a.scope\n",
      "30 20 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "31 20 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "32 20 0:3 / /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids\n"
      "33 20 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "34 20 0:5 / /proc rw - proc proc rw\n");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].path, "/sys/fs/cgroup/memory/a.scope");
  EXPECT_EQ(found[1].path, "/sys/fs/cgroup/cpu,cpuacct/a.scope");
  EXPECT_EQ(found[2].path, "/sys/fs/cgroup/pids");
  EXPECT_EQ(found[3].path, "/sys/fs/cgroup/unified/a.scope");
}

TEST(FindCgroups, AMountOfASubtreeShowsWhatIsBelowIt) {
  const char* mounts = "30 20 0:1 /docker/ab\\040c /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(FindCgroups("0::/docker/ab c/x.scope\n", mounts)[0].path, "/sys/fs/cgroup/x.scope");
  EXPECT_EQ(FindCgroups("0::/docker/ab c\n", mounts)[0].path, "/sys/fs/cgroup");
  EXPECT_TRUE(FindCgroups("0::/docker/ab cd\n", mounts).empty()) << "a sibling whose name begins alike";
  EXPECT_TRUE(FindCgroups("0::/elsewhere\n", mounts).empty());
}

TEST(FindCgroups, OutsideOfTheCgroupNamespaceIsNowhere) {
  EXPECT_TRUE(FindCgroups("0::/../x.scope\n", "30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n").empty());
}

TEST(FindCgroups, NonsenseIsNothing) {
  EXPECT_TRUE(FindCgroups("", "").empty());
  EXPECT_TRUE(FindCgroups("x\n:\n1:memory\n", "a - b\n - \ncgroup\n").empty());
}

TEST(CgroupMountPoints, AreThoseOfBothVersions) {
  EXPECT_EQ(CgroupMountPoints("30 20 0:1 / /sys/fs/cgroup/a\\040b rw - cgroup cgroup rw,cpu\n31 20 0:2 / /proc rw - proc proc rw\n33 20 0:4 /x /y rw - cgroup2 cgroup2 rw\n"),
            (std::vector<std::string>{"/sys/fs/cgroup/a b", "/y"}));
}

TEST(HasController, LooksAtWholeNames) {
  EXPECT_TRUE(HasController("cpu,cpuacct", "cpuacct"));
  EXPECT_FALSE(HasController("cpuacct,cpuset", "cpu"));
  EXPECT_FALSE(HasController("", "cpu"));
}

TEST(CpuQuota, IsTheShareOfAPeriodThatTheKernelTakes) {
  EXPECT_EQ(QuotaOf(1500).quota_usec, 150'000);
  EXPECT_EQ(QuotaOf(1500).period_usec, 100'000);
  EXPECT_EQ(QuotaOf(10).quota_usec, 1000);
  EXPECT_EQ(QuotaOf(1).quota_usec, 1000) << "never below the kernel's millisecond";
  EXPECT_EQ(QuotaOf(1).period_usec, 1'000'000);
}

}  // namespace
}  // namespace isla
