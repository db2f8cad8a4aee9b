#include "sandbox/names/arch.h"

#include <linux/audit.h>

namespace isla::sandbox {

uint32_t AuditArch(Arch arch) { return arch == Arch::kX86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64; }

std::string_view ArchName(Arch arch) { return arch == Arch::kX86_64 ? "x86-64" : "arm64"; }

std::optional<Arch> ArchOfName(std::string_view name) {
  if (name == "x86-64" || name == "x86_64" || name == "amd64") return Arch::kX86_64;
  if (name == "arm64" || name == "aarch64") return Arch::kArm64;
  return std::nullopt;
}

}  // namespace isla::sandbox
