// Quantities and durations of manifests: api/base/quantity.h, under the names that this folder's users know.
#pragma once

#include "api/base/quantity.h"

namespace isla::api {

using isla::FormatAge;
using isla::FormatBytes;
using isla::FormatCpuMillis;
using isla::FormatDuration;
using isla::ParseBytes;
using isla::ParseCpuMillis;
using isla::ParseDuration;

}  // namespace isla::api
