// Writes the built-in default policy, compiled, as C++: run when isla-box is built, so that no run compiles it (2 ms).
#include <cstdio>

#include "sandbox/compiled_policy.h"
#include "sandbox/default_policy.h"

namespace {

void Print(const char* name, const isla::sandbox::Program& program) {
  std::printf("constexpr sock_filter %s[] = {\n", name);
  for (const sock_filter& each : program) std::printf("    {%u, %u, %u, %uu},\n", each.code, each.jt, each.jf, each.k);
  std::printf("};\n");
}

}  // namespace

int main() {
  using isla::sandbox::kNativeArch;
  const isla::StatusOr<isla::sandbox::CompiledPolicy> policy = isla::sandbox::CompilePolicy(isla::sandbox::DefaultPolicy(kNativeArch), {}, "default", "built-in");
  if (!policy.ok() || policy->NeedsSupervisor()) return 1;
  Print("kDefaultFloor", policy->floor);
  Print("kDefaultFilter", policy->filter);
  return 0;
}
