// Any text as a call or a table of tests: refused, or read; and what is written of a call that was read is read as the
// same.
#include <cstdint>

#include "sandbox/box/call_text.h"
#include "sandbox/box/describe.h"
#include "sandbox/box/test_table.h"

namespace isla::sandbox {
namespace {

void CheckText(std::string_view text) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const StatusOr<CallExample> call = ParseCall(text, arch);
    if (!call.ok()) {
      ISLA_CHECK(call.status().code() == Code::kInvalidArgument);
      continue;
    }
    const std::string written = DescribeCall(arch, *call, kFactUid);
    const StatusOr<CallExample> back = ParseCall(written, arch);
    ISLA_CHECK(back.ok() && DescribeCall(arch, *back, kFactUid) == written);
  }
  const StatusOr<std::vector<TableTest>> table = ParseTable(text);
  if (table.ok()) ISLA_CHECK(RunTable(SandboxPolicy(), *table).ok());
}

}  // namespace
}  // namespace isla::sandbox

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::sandbox::CheckText({reinterpret_cast<const char*>(data), size});
  return 0;
}
