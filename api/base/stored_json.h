// How large and how deep a value of the store may be that is read as JSON: more than the API lets in (an object is at most 512 KiB or so, 32 levels), as
// the server adds to objects, and statuses and bindings are its own: values are bounded where they are written, this keeps foreign bytes from hurting. One place, that what one program writes every other one reads.
#pragma once

#include "api/base/json.h"

namespace isla {

inline constexpr json::Limits kStoredJson{.max_bytes = size_t{2} << 20, .max_depth = 64};

}  // namespace isla
