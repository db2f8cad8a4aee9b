// The architectures that policies are compiled for. A policy is compiled for one of them, by default the one
// that this was built for; calls of any other are refused by the filter before a rule is looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace isla::sandbox {

enum class Arch : uint8_t { kX86_64, kArm64 };

#if defined(__x86_64__)
inline constexpr Arch kNativeArch = Arch::kX86_64;
#elif defined(__aarch64__)
inline constexpr Arch kNativeArch = Arch::kArm64;
#else
#error "isla's sandbox knows x86-64 and arm64"
#endif

/// AUDIT_ARCH_ of it: what seccomp_data.arch holds.
uint32_t AuditArch(Arch arch);

/// "x86-64", "arm64".
std::string_view ArchName(Arch arch);
std::optional<Arch> ArchOfName(std::string_view name);

}  // namespace isla::sandbox
