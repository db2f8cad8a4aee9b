#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "sandbox/landlock/landlock.h"
#include "sandbox/landlock/landlock_abi.h"

namespace isla::landlock {
namespace {

using sandbox::NetRule;
using sandbox::NetSection;

// Beyond it ports are left to what enforces `net` itself: a rule for each is a system call at every start.
constexpr size_t kMostPorts = 256;

/// All rights over files that a kernel of this ABI can forbid.
uint64_t AllFileRights(int abi) {
  uint64_t out = kRefer - 1;
  if (abi >= kAbiRefer) out |= kRefer;
  if (abi >= kAbiTruncate) out |= kTruncate;
  if (abi >= kAbiIoctlDev) out |= kIoctlDev;
  return out;
}

uint64_t RightsOf(uint8_t access) {
  uint64_t out = 0;
  if ((access & sandbox::kRead) != 0) out |= kReadFile | kReadDir;
  if ((access & sandbox::kWrite) != 0) out |= kWriteFile | kTruncate | kIoctlDev;
  // Renaming to another folder is a creation there and a deletion here: both ends must have kRefer. Device nodes are made by
  // nobody in a container.
  if ((access & sandbox::kCreate) != 0) out |= kMakeReg | kMakeDir | kMakeSym | kMakeSock | kMakeFifo | kRefer;
  if ((access & sandbox::kDelete) != 0) out |= kRemoveFile | kRemoveDir | kRefer;
  if ((access & sandbox::kExecute) != 0) out |= kExecute;
  return out;
}

Layer FilesLayer(const sandbox::FilesSection& files, int abi) {
  Layer out;
  out.files = AllFileRights(abi);
  for (const sandbox::PathAccess& each : files.allow) out.paths.push_back({each.path, RightsOf(each.access) & out.files});
  return out;
}

/// Every ruleset about files takes kRefer away, handled or not: so it is handled and given back everywhere.
Layer ExecLayer(const sandbox::ExecSection& exec, int abi) {
  Layer out;
  out.files = kExecute;
  for (const std::string& path : exec.allow) out.paths.push_back({path, kExecute});
  if (abi >= kAbiRefer) {
    out.files |= kRefer;
    out.paths.push_back({"/", kRefer});
  }
  return out;
}

/// The ports that some rule lets through for some address: no others can ever be used. False if they are too many to name.
bool ReachablePorts(const NetSection& net, bool NetRule::*operation, uint64_t right, std::map<uint16_t, uint64_t>& ports) {
  for (const NetRule& rule : net.rules) {
    if (!(rule.*operation) || rule.action == NetRule::Kind::kDeny) continue;
    if (size_t{rule.last_port} - rule.first_port >= kMostPorts) return false;
    for (unsigned port = rule.first_port; port <= rule.last_port; ++port) ports[static_cast<uint16_t>(port)] |= right;
    if (ports.size() > kMostPorts) return false;
  }
  return true;
}

void AddPorts(const NetSection& net, Layer& layer) {
  if (net.default_allow) return;
  std::map<uint16_t, uint64_t> ports;
  for (const auto& [operation, right] : {std::pair(&NetRule::connect, kConnectTcp), std::pair(&NetRule::bind, kBindTcp)}) {
    std::map<uint16_t, uint64_t> with = ports;
    if (!ReachablePorts(net, operation, right, with)) continue;
    ports = std::move(with);
    layer.ports |= right;
  }
  for (const auto& [port, rights] : ports) layer.port_rules.push_back({port, rights});
}

void SayWhatIsLost(int abi, const Options& options, bool files, std::vector<std::string>& lost) {
  const auto say = [&lost, abi, files](std::string_view what) {
    lost.push_back(fmt::format("{}: {}: this kernel's Landlock has ABI {}", files ? "files.allow" : "exec.allow", what, abi));
  };
  if (abi < kAbiRefer) say("nothing can be linked or renamed from one folder to another");
  if (!files) return;
  if (abi < kAbiTruncate) say("truncating files outside of it isn't forbidden");
  if (abi < kAbiIoctlDev) say("ioctls of devices outside of it aren't forbidden");
  if (options.scopes && abi < kAbiScopes) say("abstract unix sockets and signals aren't kept inside");
}

}  // namespace

int Abi() {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, size_t{0}, kVersionFlag);
  return version > 0 ? static_cast<int>(version) : 0;
}

StatusOr<Plan> MakePlan(const sandbox::Sections& sections, int abi, const Options& options) {
  Plan out;
  const bool files = sections.files && !sections.files->allow.empty(), exec = sections.exec && !sections.exec->allow.empty();
  if (abi < 1) {
    for (const auto& [asked, field] : {std::pair(files, "files.allow"), std::pair(exec, "exec.allow")}) {
      if (!asked) continue;
      if (!options.go_on_without) return Errorf(Code::kFailedPrecondition, "{}: this kernel has no Landlock, or it is switched off (lsm=landlock,...), so it can't be enforced", field);
      out.lost.push_back(fmt::format("{}: not enforced: this kernel has no Landlock", field));
    }
    return out;
  }
  Layer first;
  if (files) first = FilesLayer(*sections.files, abi);
  else if (exec) first = ExecLayer(*sections.exec, abi);
  if (options.ports && sections.net && abi >= kAbiPorts) AddPorts(*sections.net, first);
  if (options.scopes && files && abi >= kAbiScopes) first.scoped = kScopeAbstractUnixSocket | kScopeSignal;
  if ((first.files | first.ports | first.scoped) != 0) out.layers.push_back(std::move(first));
  if (files && exec) out.layers.push_back(ExecLayer(*sections.exec, abi));
  if (files || exec) SayWhatIsLost(abi, options, files, out.lost);
  return out;
}

}  // namespace isla::landlock
