// Whole objects in the formats of -o: json, yaml, name, jsonpath.
#pragma once

#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/client/api_client.h"

namespace isla::cli {

/// "" if `format` is one of `allowed` ("jsonpath" stands for "jsonpath=..."); else kubectl's text.
std::string CheckFormat(const std::string& format, const std::vector<std::string>& allowed);

/// One object, ended by a newline but for jsonpath. INVALID_ARGUMENT: a bad expression.
StatusOr<std::string> FormatObject(const json::Value& object, const client::Resource& resource,
                                   const std::string& format);

/// {"apiVersion": "v1", "items": [...], "kind": "List", ...}, as kubectl wraps several objects.
json::Value ListOf(json::Array items);

/// What an expression like {.status.phase}, {.items[0].metadata.name} or {.items[*].metadata.name}
/// finds, as text: strings bare, the rest as JSON, several joined by spaces; text outside of braces
/// as it is. A path that isn't there is "". INVALID_ARGUMENT for any other syntax of JSONPath.
StatusOr<std::string> EvaluateJsonPath(std::string_view expression, const json::Value& value);

}  // namespace isla::cli
