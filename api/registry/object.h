// An object as the API serves it: a JSON tree that never changes, with its encoded bytes, made once when they
// are first asked for and shared by everybody who reads that revision of the object.
// Threads: any.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "api/base/json.h"

namespace isla::registry {

class Object final : public json::Value {
 public:
  explicit Object(json::Value value) : json::Value(std::move(value)) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  /// json::Serialize of it.
  const std::string& Encoded() const {
    std::call_once(once_, [this] { encoded_ = json::Serialize(*this); });
    return encoded_;
  }

 private:
  mutable std::once_flag once_;
  mutable std::string encoded_;
};

using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace isla::registry
