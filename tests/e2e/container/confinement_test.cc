// What a container can't do, tried from inside as its root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/container/harness.h"

namespace isla::shim {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Result {
  ExitRecord record;
  std::string out;
};

Result RunScript(const std::string& script, void (*change)(LaunchRequest&) = nullptr) {
  TestContainer container({"/bin/sh", "-c", script});
  if (change != nullptr) change(container.request());
  Result result;
  result.record = container.Run();
  EXPECT_NE(result.record.cause, "start-error") << result.record.step << ": " << result.record.message;
  result.out = container.Output();
  const std::string errors = container.Output("stderr");
  if (!errors.empty()) result.out += "stderr: " + errors;
  return result;
}

TEST(Confinement, ForbiddenCallsAnswerAsTheFloorSays) {
  const Result result = RunScript(
      "for what in io_uring clone3 userfaultfd bpf init_module kexec keyctl perf mount fsopen umount vm_read "
      "unshare_user unshare_net clone_user setns tiocsti handle; do echo \"$what $(/probe/probe $what 1)\"; done; "
      "echo ptrace $(/probe/probe ptrace 1); echo vsock $(/probe/probe socket 40); echo packet $(/probe/probe socket 17); "
      "echo raw $(/probe/probe raw); echo disk $(/probe/probe mknod); echo x32 $(/probe/probe x32); "
      "echo inet $(/probe/probe socket 2); echo unix $(/probe/probe socket 1)");
  EXPECT_EQ(result.out,
            "io_uring ENOSYS\nclone3 ENOSYS\nuserfaultfd ENOSYS\nbpf EPERM\ninit_module EPERM\nkexec EPERM\n"
            "keyctl EPERM\nperf EPERM\nmount EPERM\nfsopen EPERM\numount EPERM\nvm_read EPERM\nunshare_user EPERM\n"
            "unshare_net EPERM\nclone_user EPERM\nsetns EPERM\ntiocsti EPERM\nhandle EPERM\nptrace EPERM\n"
            "vsock EAFNOSUPPORT\npacket EAFNOSUPPORT\nraw EPERM\ndisk EPERM\nx32 ENOSYS\ninet ok\nunix ok\n");
}

#if defined(__x86_64__)
TEST(Confinement, A32BitCallKills) {
  TestContainer container({"/probe/probe", "int80"});
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "signal");
  EXPECT_EQ(record.signal, SIGSYS);
}
#endif

TEST(Confinement, TheHostsProcessesAreInvisible) {
  const Result result = RunScript("cd /proc; for p in [0-9]*; do echo $p; done");
  EXPECT_EQ(result.out, "1\n2\n") << "PID 1 and the shell";
}

TEST(Confinement, PidOneRunsUnderTheSameFilterAndCantBeLookedInto) {
  const Result result = RunScript(
      "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/1/environ /proc/1/maps 2>&1; readlink /proc/1/exe /proc/1/fd/3; echo end");
  EXPECT_THAT(result.out, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(result.out, HasSubstr("Seccomp:\t2"));
  EXPECT_THAT(result.out, HasSubstr("/proc/1/environ: Permission denied"));
  EXPECT_THAT(result.out, HasSubstr("/proc/1/maps: Permission denied\nend\n")) << "and no link of it can be read";
}

TEST(Confinement, TheHostsFilesCantBeReadOrWritten) {
  const Result result = RunScript(
      "for f in /etc/shadow /proc/1/root/etc/shadow; do /probe/probe read $f; done; "
      "for f in /usr/x /bin/sh /usr/bin/env /etc/ld.so.cache /sys/x /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern "
      "; do /probe/probe write $f; done; ls -A /home /root /mnt /srv /var/lib | grep -v : | grep -c .; ls /work");
  EXPECT_EQ(result.out, "ENOENT\nEACCES\nEROFS\nEACCES\nEACCES\nEACCES\nEROFS\nEACCES\nEACCES\n0\n"
                        "stderr: ls: cannot access '/work': No such file or directory\n");
  EXPECT_EQ(access("/usr/x", F_OK), -1);
}

TEST(Confinement, FilesThatTellAboutTheMachineAreEmpty) {
  const Result result = RunScript(
      "cat /proc/kcore /proc/keys /proc/timer_list /proc/vmallocinfo /proc/kpageflags /proc/kmsg 2>/dev/null | wc -c; ls /sys/firmware | wc -l");
  EXPECT_EQ(result.out, "0\n0\n");
}

TEST(Confinement, OnlyTheContainersOwnDescriptorsAreOpen) {
  TestContainer container({"/probe/probe", "fds"});
  container.Run();
  EXPECT_EQ(container.Output(), "0 1 2 \n");
}

TEST(Confinement, RootInsideIsNobodyOutside) {
  TestContainer container({"/bin/sh", "-c", "touch /shared/file && id -u && cat /proc/self/uid_map && stat -c %u /usr/bin/env; sleep 60"});
  const std::string shared = container.folder() + "/shared";
  ASSERT_EQ(mkdir(shared.c_str(), 0777), 0);
  ASSERT_EQ(chmod(shared.c_str(), 0777), 0);
  container.request().mounts.push_back({shared, "/shared", false});
  container.Start();
  struct stat st {};
  for (int i = 0; i < 500 && container.Output().find("65534") == std::string::npos; ++i) usleep(5000);
  EXPECT_THAT(container.Output(), HasSubstr("0\n         0  805306368      65536\n     65536  805371904          1\n65534\n"));
  ASSERT_EQ(stat((shared + "/file").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, container.request().id_base);
  // Nothing of it shows in the host's mounts.
  EXPECT_THAT(ReadFile("/proc/self/mountinfo").value_or("?"), Not(HasSubstr(container.folder())));
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Confinement, CapabilitiesAreThoseOfAContainersRoot) {
  const Result result = RunScript("grep Cap /proc/self/status");
  // chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, setfcap
  EXPECT_EQ(result.out, "CapInh:\t0000000000000000\nCapPrm:\t00000000800405fb\nCapEff:\t00000000800405fb\n"
                        "CapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\n");
}

TEST(Confinement, NamespacesAreItsOwnAndTheNetworkIsLoopbackAlone) {
  const Result result = RunScript("hostname; cat /proc/self/cgroup | cut -d: -f3 | sort -u; ls /sys/class/net; "
                                  "cat /proc/net/unix | wc -l; grep -c . /proc/net/dev");
  EXPECT_THAT(result.out, HasSubstr("box\n"));
  EXPECT_THAT(result.out, HasSubstr("lo\n1\n3\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("isla-")));
}

TEST(Confinement, ReadOnlyMountsCantBeWrittenAndLinksOfTheHostAreNotFollowed) {
  TestContainer container({"/bin/sh", "-c", "echo x > /data/file; cat /data/known"});
  const std::string data = container.folder() + "/data";
  ASSERT_EQ(mkdir(data.c_str(), 0777), 0);
  ASSERT_TRUE(WriteFileAtomically(data + "/known", "here\n", 0644, false).ok());
  container.request().mounts.push_back({data, "/data", true});
  container.Run();
  EXPECT_THAT(container.Output("stderr"), HasSubstr("Read-only file system"));
  EXPECT_EQ(container.Output(), "here\n");

  TestContainer linked({"true"});
  ASSERT_EQ(symlink("/etc", (linked.folder() + "/link").c_str()), 0);
  linked.request().mounts.push_back({linked.folder() + "/link", "/data", true});
  const ExitRecord record = linked.Run();
  EXPECT_EQ(record.cause, "start-error");
  EXPECT_EQ(record.error, ELOOP);
}

TEST(Confinement, OrdinaryToolsRun) {
  const Result result = RunScript(
      "cd /tmp && printf '#include <stdio.h>\\nint main(){puts(\"compiled\");}' > a.c && gcc -o a a.c && ./a && "
      "/usr/bin/python3 -c 'import threading,subprocess;t=threading.Thread(target=lambda:print(\"thread\"));t.start();t.join();"
      "print(subprocess.check_output([\"echo\",\"sub\"]).decode().strip())' && "
      "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m && git log --format=%s",
      [](LaunchRequest& r) { r.memory_bytes = 512 << 20; });
  EXPECT_EQ(result.out, "compiled\nthread\nsub\nm\n");
  if (access("/usr/bin/node", X_OK) == 0) {
    const Result node = RunScript("node -e 'require(\"fs\").readFile(\"/etc/hostname\",(e,d)=>console.log(String(d).trim()))'",
                                  [](LaunchRequest& r) { r.memory_bytes = 512 << 20; });
    EXPECT_EQ(node.out, "box\n");
  }
}

TEST(Confinement, AFolderAsImageIsSeenThroughAnOverlayThatEndsWithTheContainer) {
  for (const bool on_disk : {false, true}) {
    TestContainer container({"/bin/sh", "-c", "echo changed > /file; cat /file /etc/hostname; test -c /dev/null && ls -d /proc/1 /tmp /usr/bin"});
    const std::string image = container.folder() + "/image", upper = container.folder() + "/upper";
    for (const char* path : {"", "/usr", "/etc", "/proc"}) ASSERT_EQ(mkdir((image + path).c_str(), 0755), 0);
    for (const char* link : {"bin", "lib", "lib64"}) {
      ASSERT_EQ(symlink((std::string("usr/") + link).c_str(), (image + "/" + link).c_str()), 0);
    }
    ASSERT_TRUE(WriteFileAtomically(image + "/file", "original\n", 0644, false).ok());
    // A hostile image: its /dev leads out of it.
    const std::string outside = "/mnt/" + container.request().uid;  // on the host, and in the image too
    ASSERT_TRUE(MakeDirectories(outside, 0755).ok() && MakeDirectories(image + outside, 0755).ok());
    ASSERT_EQ(symlink(outside.c_str(), (image + "/dev").c_str()), 0);
    container.request().image = "dir:" + image;
    container.request().mounts.push_back({"/usr", "/usr", true});
    if (on_disk) {
      ASSERT_EQ(mkdir(upper.c_str(), 0700), 0);
      container.request().overlay_dir = upper;
    }
    const ExitRecord record = container.Run();
    if (on_disk && record.cause == "start-error") {
      EXPECT_EQ(record.step, "mount overlay") << "an overlay can't lie on an overlay (a cell)";
      rmdir(outside.c_str());
      continue;
    }
    EXPECT_EQ(record.cause, "exited") << record.message;
    EXPECT_EQ(container.Output(), "changed\nbox\n/proc/1\n/tmp\n/usr/bin\n") << container.Output("stderr");
    EXPECT_EQ(ReadFile(image + "/file").value_or(""), "original\n");
    EXPECT_EQ(rmdir(outside.c_str()), 0) << "something was made through the link on the host";
  }
}

}  // namespace
}  // namespace isla::shim
