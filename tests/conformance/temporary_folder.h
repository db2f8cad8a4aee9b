// A folder that goes with the test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "api/base/status.h"

namespace isla::testing {

class TemporaryFolder {
 public:
  /// In $TMPDIR (or /tmp), or in `parent`.
  explicit TemporaryFolder(const std::string& parent = std::filesystem::temp_directory_path().string())
      : path_(parent + "/isla-XXXXXX") {
    ISLA_CHECK(mkdtemp(path_.data()) != nullptr);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace isla::testing
