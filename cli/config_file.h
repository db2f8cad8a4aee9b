// config view, current-context, get-contexts: this user's config file.
#pragma once

#include "cli/context.h"

namespace isla::cli {

int ConfigFile(Context& context);

}  // namespace isla::cli
