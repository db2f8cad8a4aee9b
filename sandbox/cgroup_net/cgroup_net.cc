#include "sandbox/cgroup_net/cgroup_net.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace isla::cgroup_net {
namespace {

constexpr size_t kLogBytes = 64 * 1024;

int Bpf(bpf_cmd command, bpf_attr& attr) { return static_cast<int>(syscall(SYS_bpf, command, &attr, sizeof attr)); }

bpf_attr LoadAttr(const std::vector<bpf_insn>& code, const Hook& hook) {
  static constexpr char kLicense[] = "GPL";  // no helper is called; the kernel asks for a text
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
  attr.expected_attach_type = hook.attach_type;
  attr.insns = reinterpret_cast<uint64_t>(code.data());
  attr.insn_cnt = static_cast<uint32_t>(code.size());
  attr.license = reinterpret_cast<uint64_t>(kLicense);
  hook.name.copy(attr.prog_name, sizeof attr.prog_name - 1);
  return attr;
}

StatusOr<UniqueFd> LoadProgram(const std::vector<bpf_insn>& code, const Hook& hook) {
  bpf_attr attr = LoadAttr(code, hook);
  if (const int fd = Bpf(BPF_PROG_LOAD, attr); fd >= 0) return UniqueFd(fd);
  const int error = errno;
  if (error == ENOSYS || error == EPERM || error == EACCES) {
    // EACCES is the verifier's, too; it says why.
    if (error != EACCES) return FromErrno(error, "load a BPF program");
  }
  std::string log(kLogBytes, '\0');
  attr.log_level = 1;
  attr.log_buf = reinterpret_cast<uint64_t>(log.data());
  attr.log_size = static_cast<uint32_t>(log.size());
  if (const int fd = Bpf(BPF_PROG_LOAD, attr); fd >= 0) return UniqueFd(fd);
  log.resize(std::strlen(log.c_str()));
  const size_t shown = log.size() > 600 ? log.size() - 600 : 0;
  return FromErrno(error, fmt::format("load the BPF program for {}: ...{}", hook.name, log.substr(shown)));
}

Status AttachProgram(int cgroup, const Hook& hook, int program, int replaced) {
  bpf_attr attr{};
  attr.target_fd = static_cast<uint32_t>(cgroup);
  attr.attach_bpf_fd = static_cast<uint32_t>(program);
  attr.attach_type = hook.attach_type;
  attr.attach_flags = BPF_F_ALLOW_MULTI;  // those of groups above decide as well
  if (replaced >= 0) {
    attr.attach_flags |= BPF_F_REPLACE;
    attr.replace_bpf_fd = static_cast<uint32_t>(replaced);
  }
  return Bpf(BPF_PROG_ATTACH, attr) == 0 ? OkStatus() : FromErrno(errno, fmt::format("attach the BPF program for {}", hook.name));
}

void Detach(int cgroup, const Hook& hook, int program) {
  bpf_attr attr{};
  attr.target_fd = static_cast<uint32_t>(cgroup);
  attr.attach_bpf_fd = static_cast<uint32_t>(program);
  attr.attach_type = hook.attach_type;
  (void)Bpf(BPF_PROG_DETACH, attr);
}

}  // namespace

StatusOr<CgroupNet::Programs> CgroupNet::Load(const sandbox::NetSection& net) {
  Programs out;
  for (size_t i = 0; i < kHooks.size(); ++i) {
    ASSIGN_OR_RETURN(const std::vector<bpf_insn> code, Compile(net, kHooks[i]));
    ASSIGN_OR_RETURN(out[i], LoadProgram(code, kHooks[i]));
  }
  return out;
}

StatusOr<CgroupNet> CgroupNet::Attach(int cgroup, const sandbox::NetSection& net) {
  CgroupNet out;
  ASSIGN_OR_RETURN(out.programs_, Load(net));
  out.cgroup_.Reset(fcntl(cgroup, F_DUPFD_CLOEXEC, 3));
  if (!out.cgroup_.valid()) return FromErrno(errno, "keep the cgroup's folder");
  for (size_t i = 0; i < kHooks.size(); ++i) {
    const Status status = AttachProgram(cgroup, kHooks[i], out.programs_[i].get(), -1);
    if (status.ok()) continue;
    while (i-- > 0) Detach(cgroup, kHooks[i], out.programs_[i].get());
    return status;
  }
  return out;
}

Status CgroupNet::Replace(const sandbox::NetSection& net) {
  ASSIGN_OR_RETURN(Programs next, Load(net));
  for (size_t i = 0; i < kHooks.size(); ++i) {
    const Status status = AttachProgram(cgroup_.get(), kHooks[i], next[i].get(), programs_[i].get());
    if (status.ok()) continue;
    while (i-- > 0) (void)AttachProgram(cgroup_.get(), kHooks[i], programs_[i].get(), next[i].get());
    return status;
  }
  programs_ = std::move(next);
  return OkStatus();
}

bool CanLoad() {
  const StatusOr<std::vector<bpf_insn>> code = Compile({}, kHooks[0]);
  return code.ok() && LoadProgram(*code, kHooks[0]).ok();
}

}  // namespace isla::cgroup_net
