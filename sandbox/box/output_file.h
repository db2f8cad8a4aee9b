// Where a command's result goes that isn't for standard output (-o, -f): a file of the user's, who may have named anything.
//
// A file becomes the new bytes at once or stays as it was, and keeps its mode; what a link leads to is written, not the link. Where its folder
// can't be written to, it is written in place. Pipes and devices get the bytes.
#pragma once

#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla::sandbox {

/// Whether WriteOutput() could, so that no work is done in vain. Leaves nothing behind. Not a promise: much may change meanwhile.
Status CheckOutput(const std::string& path);

/// Blocks until somebody reads, if it is a pipe.
Status WriteOutput(const std::string& path, std::string_view bytes);

}  // namespace isla::sandbox
