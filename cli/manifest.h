// Manifests from files, folders and standard input: JSON texts, one after the other or separated by
// "---" lines, and lists of objects. A text that can't be read is reported with its file, line and
// column, and the others go on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "cli/io.h"

namespace isla::cli {

struct Manifest {
  json::Value object;
  std::string file;    // as the user named it, "STDIN" for "-"
  std::string source;  // for messages: `file`, with ":line" if it isn't the file's first text

  std::string kind() const { return object.StringAt({"kind"}); }
  std::string name() const { return object.StringAt({"metadata", "name"}); }
  /// " (a.json:7:12)": where the field is ("spec.env[2].name"), or the nearest one above it; "" if
  /// unknown.
  std::string Place(std::string_view field) const;
};

/// What was read: each entry a manifest or why it isn't one, in the order of the files.
using Manifests = std::vector<StatusOr<Manifest>>;

Manifests ReadManifests(const std::vector<std::string>& files, bool recursive, Io& io);

/// One text's objects. Exposed for tests.
Manifests ParseManifests(std::string_view text, const std::string& file);

}  // namespace isla::cli
