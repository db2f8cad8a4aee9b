// What the tests of api/object share: manifests written short, errors in one comparable form.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/object/field_error.h"

namespace isla::api {

inline json::Value Read(std::string_view text) {
  StatusOr<json::Value> value = json::Parse(text);
  EXPECT_TRUE(value.ok()) << text << ": " << ToString(value.status());
  return value.ok() ? *std::move(value) : json::Value();
}

/// A whole session around a spec.
inline json::Value SessionWith(std::string_view spec) {
  return Read(fmt::format(R"({{"apiVersion":"isla/v1","kind":"Session","metadata":{{"name":"x"}},"spec":{}}})", spec));
}

/// A session that is good but for a member of its spec: `"timeout": "x"`.
inline json::Value SessionBut(std::string_view member) {
  return SessionWith(fmt::format(R"({{"command":["true"],{}}})", member));
}

/// "field: detail" of each.
inline std::vector<std::string> Texts(const FieldErrors& errors) {
  std::vector<std::string> out;
  for (const FieldError& error : errors) out.push_back(error.field + ": " + error.detail);
  return out;
}

}  // namespace isla::api
