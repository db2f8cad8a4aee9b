// What the manifest's decoder promises of a supervisor is what this one does.
#include "sandbox/policy/catalogue.h"

#include <gtest/gtest.h>

#include "sandbox/names/syscalls.h"
#include "sandbox/policy/policy.h"
#include "sandbox/supervisor/call_shape.h"
#include "sandbox/supervisor/emulate.h"
#include "sandbox/supervisor/perform.h"

namespace isla::supervisor {
namespace {

TEST(Catalogue, EmulatorsExist) {
  for (const sandbox::Emulator& emulator : sandbox::AllEmulators()) EXPECT_TRUE(HasEmulator(emulator.name)) << emulator.name;
}

TEST(Catalogue, CallsArePerformedAndReadAsItSays) {
  for (int number = 0; number < sandbox::kCallNumbers; ++number) {
    const std::string_view name = sandbox::SyscallName(sandbox::kNativeArch, number);
    if (name.empty()) continue;
    const CallShape& shape = ShapeOf(number);
    EXPECT_EQ(CanPerform(number), sandbox::CanPerform(name)) << name;
    EXPECT_EQ(shape.address >= 0, sandbox::CanReadAddress(name)) << name;
    const bool executes = name == "execve" || name == "execveat";  // never notified
    EXPECT_EQ(shape.paths > 0 && !executes, sandbox::CanReadPaths(name)) << name;
    EXPECT_EQ(shape.kind == CallShape::Kind::kOpen, sandbox::CanGiveFile(name) || name == "creat") << name;
  }
}

}  // namespace
}  // namespace isla::supervisor
