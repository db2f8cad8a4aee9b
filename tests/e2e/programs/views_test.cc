// With a grant of one processor and 512 MiB, whoever is asked says one processor and 512 MiB. No LD_PRELOAD: static programs say it too.
// Nothing here is of use on a machine with one processor.
#include <gmock/gmock.h>

#include <thread>

#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

using ::testing::HasSubstr;

class BoxViews : public BoxTest {
 protected:
  void SetUp() override {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "this machine has one processor";
  }
  std::string Granted(const std::vector<std::string>& argv) const {
    const BoxResult result = Boxed({"--cpus", "1", "--memory", "512Mi"}, argv);
    EXPECT_EQ(result.exit, 0) << Describe(result);
    return result.out + result.err;
  }
};

TEST_F(BoxViews, CoreutilsAndLibc) {
  EXPECT_EQ(Granted({"nproc"}), "1\n");
  EXPECT_EQ(Granted({"nproc", "--all"}), "1\n");
  EXPECT_EQ(Granted({"getconf", "_NPROCESSORS_ONLN"}), "1\n");
  EXPECT_EQ(Granted({"getconf", "_NPROCESSORS_CONF"}), "1\n");
  EXPECT_EQ(Granted({"sh", "-c", "echo $(( $(getconf _PHYS_PAGES) * $(getconf PAGESIZE) >> 20 ))"}), "512\n");
}

TEST_F(BoxViews, CAndCppAndOpenMpDynamicAndStatic) {
  for (const char* probe : {"cores", "cores_static"}) {
    EXPECT_EQ(Granted({Probe(probe)}),
              "online=1 configured=1 get_nprocs=1 hardware_concurrency=1 affinity=1 omp_procs=1 omp_threads=1 mebibytes=512\n")
        << probe;
  }
}

TEST_F(BoxViews, ToolsThatReadProc) {
  EXPECT_THAT(Granted({Program("free"), "-m"}), HasSubstr("Mem:             512 "));
  EXPECT_EQ(Granted({"grep", "-c", "^processor", "/proc/cpuinfo"}), "1\n");
  EXPECT_EQ(Granted({"grep", "-c", "^cpu[0-9]", "/proc/stat"}), "1\n");
}

TEST_F(BoxViews, BusyboxWhichIsStatic) {
  const std::string busybox = Program("busybox");
  EXPECT_EQ(Granted({busybox, "nproc"}), "1\n");
  // It puts sysinfo and /proc/meminfo together: used, free, shared, buffers and cached, available.
  EXPECT_THAT(Granted({busybox, "free", "-m"}), ::testing::ContainsRegex("Mem: +512 +[0-9]+ +[45][0-9][0-9] "));  // what its control group uses, if it has one
}

TEST_F(BoxViews, Python) {
  EXPECT_EQ(Granted({Program("python3"), "-c", "import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))"}), "1 1\n");
}

TEST_F(BoxViews, NumpyWithOpenBlas) {
  Write("blas.py",
        "import ctypes, numpy, os\n"
        "numpy.ones((500, 500)) @ numpy.ones((500, 500))\n"
        "maps = [line.split()[-1] for line in open('/proc/self/maps')]\n"
        "assert any('openblas' in name for name in maps), 'numpy without OpenBLAS'\n"
        "print('threads', len(os.listdir('/proc/self/task')))\n");
  EXPECT_EQ(Granted({Program("python3"), Path("blas.py")}), "threads 1\n");
  // As it is without a grant; else this proves nothing.
  EXPECT_EQ(Bare({Program("python3"), Path("blas.py")}).out, "threads " + std::to_string(std::thread::hardware_concurrency()) + "\n");
}

TEST_F(BoxViews, Node) {
  EXPECT_EQ(Granted({Program("node"), "-e",
                     "const os = require('os'); console.log(os.cpus().length, os.availableParallelism(), os.totalmem() >> 20)"}),
            "1 1 512\n");
}

TEST_F(BoxViews, Go) {
  Write("cores.go",
        "package main\nimport (\"fmt\"; \"runtime\")\nfunc main() { fmt.Println(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }\n");
  const BoxResult built = Bare({"env", "GOCACHE=" + Path("cache"), "GO111MODULE=off", "HOME=" + folder(), Program("go"), "build", "cores.go"});
  ASSERT_EQ(built.exit, 0) << Describe(built);
  EXPECT_EQ(Granted({Path("cores")}), "1 1\n");
}

TEST_F(BoxViews, Jvm) {
  const std::string text = Granted({Program("java"), "-Xlog:os*,gc+init=info", "-XX:+PrintFlagsFinal", "-version"});
  EXPECT_THAT(text, HasSubstr("CPUs: 1 total, 1 available")) << "G1 isn't chosen for such a machine; then it is Serial's line";
  EXPECT_THAT(text, HasSubstr("Memory: 512M"));
  EXPECT_THAT(text, ::testing::ContainsRegex("MaxHeapSize *= 1[0-9]{8} "));  // a quarter
}

}  // namespace
}  // namespace isla::e2e
