// Quantities and durations as Kubernetes writes them. Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla {

/// "2" = 2000, "500m" = 500, "0.5" = 500, "1k" = 1000000. Rounded up to a milli. INVALID_ARGUMENT for
/// anything else, negative, or above 1e6 CPUs.
StatusOr<int64_t> ParseCpuMillis(std::string_view text);
/// Bytes: "64Mi", "1.5Gi", "2G", "1e9", "128974848". Rounded up. INVALID_ARGUMENT for anything else,
/// negative, or above 2^60.
StatusOr<int64_t> ParseBytes(std::string_view text);
/// Go's durations: "300ms", "30s", "1h30m", "0". INVALID_ARGUMENT for anything else, negative or over 10 years.
StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text);

/// The shortest exact form: 500 -> "500m", 2000 -> "2".
std::string FormatCpuMillis(int64_t millis);
/// The largest binary suffix that divides it: 67108864 -> "64Mi".
std::string FormatBytes(int64_t bytes);
/// "1h30m", "250ms", "0s".
std::string FormatDuration(std::chrono::nanoseconds duration);
/// kubectl's age: <120 s "Ns"; <10 min "MmSs"; <3 h "Mm"; <8 h "HhMm"; <48 h "Hh"; <8 d "DdHh"; <2 y "Dd"; ...
std::string FormatAge(std::chrono::nanoseconds age);

}  // namespace isla
