// Texts that are compared with files beside the tests; ISLA_UPDATE_GOLDEN=1 writes them anew.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "api/base/unique_fd.h"

namespace isla::sandbox {

inline std::string SourcePath(const std::string& path) {
  const char* source = std::getenv("ISLA_SOURCE_DIR");
  EXPECT_NE(source, nullptr) << "run it with ctest, or set ISLA_SOURCE_DIR";
  return std::string(source == nullptr ? "." : source) + "/" + path;
}

inline std::string GoldenPath(const std::string& name) { return SourcePath("tests/unit/sandbox/golden/" + name); }

inline void ExpectGolden(const std::string& name, const std::string& text) {
  const std::string path = GoldenPath(name);
  if (std::getenv("ISLA_UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text, 0644, false).ok()) << path;
  }
  const StatusOr<std::string> golden = ReadFile(path);
  ASSERT_TRUE(golden.ok()) << ToString(golden.status());
  EXPECT_EQ(text, *golden) << path;
}

}  // namespace isla::sandbox
