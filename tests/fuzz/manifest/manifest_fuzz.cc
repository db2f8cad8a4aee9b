// Any manifest through the whole door: nothing crashes; defaults only add, and once; what passes can be viewed,
// and applying it again changes nothing; errors travel inside their status.
#include <cstdint>

#include "api/object/object.h"
#include "api/object/table.h"

namespace isla::api {
namespace {

/// Nothing of `typed` was dropped or changed (null counts as absent).
void CheckKept(const json::Value& typed, const json::Value& complete) {
  if (!typed.is_object() || !complete.is_object()) {
    ISLA_CHECK(typed.is_null() || typed == complete);
    return;
  }
  for (const json::Member& member : typed.members()) {
    const json::Value* kept = complete.Find(member.name);
    ISLA_CHECK(kept != nullptr);
    CheckKept(member.value, *kept);
  }
}

void CheckErrors(const Kind& kind, const FieldErrors& errors) {
  if (errors.empty()) return;
  const Status status = InvalidObject(kind.kind, "x", errors);
  const FieldErrors back = FieldErrorsOf(status);
  ISLA_CHECK(back.size() == std::min(errors.size(), kMostFieldErrors + 1));
  for (const FieldError& error : back) ISLA_CHECK(!error.reason.empty() && !error.detail.empty());
}

void CheckManifest(const Kind& kind, const json::Value& typed) {
  const FieldErrors schema = CheckSchema(kind, typed);
  CheckErrors(kind, schema);
  json::Value complete = typed;
  ApplyDefaults(kind, complete);
  CheckKept(typed, complete);
  json::Value again = complete;
  ApplyDefaults(kind, again);
  ISLA_CHECK(again == complete);
  const FieldErrors wrong = Validate(kind, complete);
  CheckErrors(kind, wrong);
  ISLA_CHECK(ValidateUpdate(kind, complete, complete, /*frozen=*/true).empty());
  CheckErrors(kind, ValidateUpdate(kind, typed, complete, /*frozen=*/true));
  ISLA_CHECK(CellsOf(kind, complete, WallTime()).size() == ColumnsOf(kind).size());
  json::Value patched = MergePatch(complete, typed);
  ApplyDefaults(kind, patched);
  ISLA_CHECK(!complete.is_object() || json::Serialize(typed).find("null") != std::string::npos || patched == complete);
  if (!schema.empty()) return;
  complete.Remove("status");
  const StatusOr<isla::v1::Session> session = ToSession(complete);
  if (&kind == &SessionKind()) ISLA_CHECK_OK(session);
  if (session.ok()) {
    isla::v1::Session back;
    ISLA_CHECK_OK(ToMessage(FromMessage(*session), back));
    ISLA_CHECK(json::Serialize(FromMessage(back)) == json::Serialize(FromMessage(*session)));
  }
}

}  // namespace
}  // namespace isla::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto value = isla::json::Parse({reinterpret_cast<const char*>(data), size});
  if (!value.ok()) return 0;
  for (const isla::api::Kind& kind : isla::api::AllKinds()) isla::api::CheckManifest(kind, *value);
  return 0;
}
