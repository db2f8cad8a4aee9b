#include "agentd/shim/start_ticks.h"

#include <cstdlib>
#include <string>

#include "api/base/unique_fd.h"

namespace isla::shim {

int64_t StartTicks(pid_t pid) {
  const StatusOr<std::string> stat = ReadFile(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat.ok()) return 0;
  // The name, field 2, may hold anything; the last ')' ends it.
  size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoll(stat->c_str() + at, nullptr, 10);
}

}  // namespace isla::shim
