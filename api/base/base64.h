// Base64 as RFC 4648 has it (section 4): padded, no line breaks.
#pragma once

#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla {

std::string EncodeBase64(std::string_view bytes);
/// White space is skipped, bits behind the end are ignored. INVALID_ARGUMENT for another character, a missing or wrong padding.
StatusOr<std::string> DecodeBase64(std::string_view text);
/// The one spelling that EncodeBase64 makes and no other: INVALID_ARGUMENT for a wrong character, a missing or wrong padding,
/// bits behind the end.
StatusOr<std::string> DecodeStrictBase64(std::string_view text);

}  // namespace isla
