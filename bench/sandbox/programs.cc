// Whole programs under the default policy with views, beside none; and the start of one that does nothing, beside other sandboxes.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>

#include "bench/sandbox/bench.h"
#include "bench/sandbox/peers.h"

namespace isla::bench {
namespace {

constexpr int kTurns = 5;  // of each in a round; its figure is their median

using Argv = std::vector<std::string>;

constexpr const char* kView = R"("view": {"cpus": "granted", "memory": "granted"})";
// A call that is notified, so that there is a listener; and a tree for Landlock.
constexpr const char* kFull = R"("rules": [{"syscalls": ["sysinfo"], "action": {"emulate": "sysinfo"}}],
"files": {"allow": [{"path": "/", "access": ["read", "write", "create", "delete", "execute"]}]})";

std::string Policy(const std::string& sections) {
  return R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "bench"}, "spec": {"base": {"groups": ["@container"]},
)" + sections + "}}";
}

/// isla-box and its supervisor, copied as an installation is. What a linker has just written lies in the page cache in small pieces, and
/// mapping those takes a start half a millisecond more.
std::string Installed(const WorkFolder& folder) {
  for (const char* program : {"isla-box", "isla-supervisor"}) std::filesystem::copy_file(ProgramFolder() + "/" + program, folder.Path(program));
  return folder.Path("isla-box");
}

/// Adds a round of two things in turns; false if one of them doesn't work.
bool AddRound(Row& row, const std::function<double()>& ours, const std::function<double()>& theirs) {
  std::vector<double> mine, its;
  for (int turn = 0; turn < kTurns; ++turn) {
    mine.push_back(ours() / 1e3);
    its.push_back(theirs() / 1e3);
    if (mine.back() == 0 || its.back() == 0) return false;
  }
  row.Add(Median(mine), Median(its));
  return true;
}

void Compare(const SandboxSettings& settings, Row row, const std::string& what, const std::function<double()>& ours, const std::function<double()>& theirs) {
  for (int round = 0; round < settings.rounds; ++round) {
    if (AddRound(row, ours, theirs)) continue;
    std::printf("%-48s not measured: %s\n", what.c_str(), ours() == 0 ? "isla-box fails" : "its peer isn't there, or fails");
    return;
  }
  row.Print();
}

Argv Boxed(const std::string& box, const std::string& policy, const Argv& options, const Argv& command) {
  Argv out = {box, "run", "--policy=" + policy};
  out.insert(out.end(), options.begin(), options.end());
  out.emplace_back("--");
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

/// As many cpus as there are: the programs do the same work. Shown only, or kept by a control group, too.
Argv Grant(bool kept) {
  return {fmt::format("--cpus={}", std::thread::hardware_concurrency()), "--memory=4g", kept ? "--cgroup=auto" : "--cgroup=no"};
}

Argv With(Argv some, const std::string& more) {
  some.push_back(more);
  return some;
}

void RunWhole(const SandboxSettings& settings, const WorkFolder& folder, const std::string& box) {
  const std::string policy = folder.Write("views.json", Policy(kView));
  const std::string source = folder.Write("hello.c", "#include <stdio.h>\nint main(void) { printf(\"hello\\n\"); return 0; }\n");
  for (int i = 0; i < 1500; ++i) folder.Write(fmt::format("file-{:04}", i), std::string(100, 'x'));
  struct Program {
    const char* what;
    double most;
    Argv argv;
  };
  const Program programs[] = {
      {"import numpy", 1.10, {"/usr/bin/python3", "-c", "import numpy"}},
      {"gcc hello.c", 1.10, {"gcc", source, "-o", folder.Path("hello")}},
      {"reading 1,500 files", 1.15, {"sh", "-c", "cat " + folder.Path("file-") + "* > /dev/null"}},
  };
  for (const Program& each : programs) {
    const Argv boxed = Boxed(box, policy, Grant(false), each.argv);
    Compare(settings, Row(each.what, "ms", "bare", Row::By::kRatio, Row::Aim::kAtMost, each.most), each.what, [&boxed] { return Timed(boxed); },
            [&each] { return Timed(each.argv); });
  }
}

void RunStart(const SandboxSettings& settings, const WorkFolder& folder, const std::string& box) {
  const std::string policy = folder.Write("full.json", Policy(kFull)), views = folder.Write("full-views.json", Policy(std::string(kFull) + ",\n" + kView));
  const std::string filter = folder.Write("filter.bpf", Output({box, "export", "--output=bpf", "--notified=allow", policy}));
  WriteBundle(folder, Output({box, "export", "--output=oci", "--notified=allow", policy}));
  const Argv full = Boxed(box, policy, {"--unshare=all"}, {"/bin/true"});
  const Argv bwrap = {"bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--seccomp", "11", "/bin/true"};
  const std::string floor = ProgramFolder() + "/bench_namespaces_floor", bundle = folder.Path("");
  const auto row = [&settings](const std::string& what, const char* beside, const Argv& ours, const std::function<double()>& theirs, double most = 0) {
    const Row::Aim aim = most > 0 ? Row::Aim::kAtMost : Row::Aim::kNone;
    Compare(settings, Row(what, "ms", beside, Row::By::kRatio, aim, most), what, [&ours] { return Timed(ours); }, theirs);
  };
  const auto run_bwrap = [&bwrap, &filter] { return Timed(bwrap, filter); };
  const auto run_crun = [&bundle] { return TimedCrun(bundle); };
  const std::string what = "start of /bin/true in a full sandbox";
  row(what, "posix_spawn", full, [] { return Timed({"/bin/true"}); });
  row(what, "the same namespaces, nothing else", full, [&floor] { return Timed({floor}); });
  row(what, "bwrap, an equal filter", full, run_bwrap, 0.6);
  row(what, "crun, an equal filter", full, run_crun);
  const Argv shown = Boxed(box, views, With(Grant(false), "--unshare=all"), {"/bin/true"}), kept = Boxed(box, views, With(Grant(true), "--unshare=all"), {"/bin/true"});
  row("the same, with views of a grant", "bwrap, an equal filter", shown, run_bwrap);
  row("the same, the grant kept by a control group", "crun, an equal filter", kept, run_crun);
}

}  // namespace

void RunPrograms(const SandboxSettings& settings) {
  const WorkFolder folder;
  const std::string box = Installed(folder);
  RunWhole(settings, folder, box);
  RunStart(settings, folder, box);
}

}  // namespace isla::bench
