#include "sandbox/policy/signature.h"

#include <algorithm>
#include <iterator>

namespace isla::sandbox {
namespace {

using Kind = ArgumentKind;

constexpr ArgumentType Flags(std::string_view name, Width width = Width::k32) {
  return {name, Kind::kNumber, width, false, name};
}

constexpr ArgumentType kTypes[] = {
    {"int", Kind::kNumber, Width::k32, true, ""},
    {"uint", Kind::kNumber, Width::k32, false, ""},
    {"long", Kind::kNumber, Width::k64, true, ""},
    {"ulong", Kind::kNumber, Width::k64, false, ""},
    {"size", Kind::kNumber, Width::k64, false, ""},
    {"off", Kind::kNumber, Width::k64, true, ""},
    {"pid", Kind::kNumber, Width::k32, true, ""},
    {"uid", Kind::kNumber, Width::k32, false, ""},
    {"gid", Kind::kNumber, Width::k32, false, ""},
    {"dev", Kind::kNumber, Width::k32, false, ""},
    {"fd", Kind::kNumber, Width::k32, true, "fd"},
    {"mode", Kind::kNumber, Width::k16, false, "mode"},
    {"ptr", Kind::kPointer, Width::k64, false, ""},
    {"str", Kind::kPointer, Width::k64, false, ""},
    {"path", Kind::kPath, Width::k64, false, ""},
    {"sockaddr", Kind::kAddress, Width::k64, false, ""},
    {"msghdr", Kind::kAddress, Width::k64, false, ""},
    {"open_how", Kind::kOpenHow, Width::k64, false, ""},
    {"family", Kind::kNumber, Width::k32, true, "family"},
    {"clockid", Kind::kNumber, Width::k32, true, "clockid"},
    {"signal", Kind::kNumber, Width::k32, true, "signal"},
    {"madvise", Kind::kNumber, Width::k32, true, "madvise"},
    {"itimer", Kind::kNumber, Width::k32, true, "itimer"},
    {"priority", Kind::kNumber, Width::k32, true, "priority"},
    {"ptrace", Kind::kNumber, Width::k64, true, "ptrace"},
    Flags("prot", Width::k64), Flags("map", Width::k64), Flags("mount", Width::k64), Flags("mremap", Width::k64),
    Flags("unshare", Width::k64),
    Flags("access"), Flags("arch_prctl"), Flags("at"), Flags("bpf"), Flags("clone"), Flags("close_range"), Flags("epoll"),
    Flags("epoll_op"), Flags("eventfd"), Flags("fadvise"), Flags("fallocate"), Flags("fcntl"), Flags("flock"), Flags("futex"),
    Flags("getrandom"), Flags("inotify"), Flags("ioctl"), Flags("ipc"), Flags("ipc_cmd"), Flags("keyctl"), Flags("membarrier"),
    Flags("memfd"), Flags("mlock"), Flags("mlockall"), Flags("msg"), Flags("msync"), Flags("open"), Flags("persona"),
    Flags("pidfd"), Flags("prctl"), Flags("protocol"), Flags("reboot"), Flags("rename"), Flags("rlimit"), Flags("rwf"),
    Flags("sched"), Flags("seccomp"), Flags("seek"), Flags("shutdown"), Flags("sigmask"), Flags("socktype"), Flags("sol"),
    Flags("splice"), Flags("statx"), Flags("timer"), Flags("timerfd"), Flags("timerfd_set"), Flags("umount"), Flags("wait"),
    Flags("xattr"),
};

}  // namespace

const ArgumentType* FindArgumentType(std::string_view name) {
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [name](const ArgumentType& type) { return type.name == name; });
  return found == std::end(kTypes) ? nullptr : &*found;
}

std::vector<Argument> SignatureOf(const Syscall& call) {
  std::vector<Argument> out;
  std::string_view rest = call.signature;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(", "), rest.size());
    const std::string_view one = rest.substr(0, end);
    const size_t blank = one.find(' ');
    out.push_back({one.substr(blank + 1), FindArgumentType(one.substr(0, blank))});
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return out;
}

}  // namespace isla::sandbox
