// GET /openapi/v2: as much of it as kubectl needs to trust the server with dry runs and field validation. It
// lists, for each kind, the PATCH of one object with the query parameters dryRun and fieldValidation. There are
// no schemas in it: the server checks every field itself, and clients skip what they have no schema for.
//
// kubectl takes it only as a protobuf message (gnostic's openapi.v2.Document), whose few fields that are used
// here are written by hand: openapiv2/OpenAPIv2.proto of gnostic has their numbers.
#pragma once

#include <string>

namespace isla::server {

/// The '@' of the Accept header must not be echoed: kubectl up to 1.28 can't parse a media type with it.
inline constexpr const char* kOpenApiV2Type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

std::string OpenApiV2();

}  // namespace isla::server
