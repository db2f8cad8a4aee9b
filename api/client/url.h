// Paths and queries of the API, escaped. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace isla::client {

/// Percent-encodes all but RFC 3986's unreserved characters: for one path segment or one query
/// value.
std::string Escape(std::string_view text);

using Parameters = std::vector<std::pair<std::string, std::string>>;

/// "?a=1&b=x%20y", in this order; pairs with an empty value are left out; "" if none is left.
std::string Query(const Parameters& parameters);

}  // namespace isla::client
