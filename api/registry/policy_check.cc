#include "api/registry/policy_check.h"

#include "sandbox/manifest/sandbox_policy.h"

namespace isla::registry {

FieldErrors CheckSandboxPolicy(const json::Value& object) {
  FieldErrors errors;
  const json::Value* const name = object.FindPath({"metadata", "name"});
  if (name != nullptr && name->is_string() && name->as_string() == "default") {
    errors.push_back(Forbidden("metadata.name", *name, "'default' is the built-in policy's"));
  }
  sandbox::DecodeOptions options;
  options.find_unreachable = false;  // warnings, which nobody would be told
  options.run_program = false;
  const Status status = sandbox::DecodeSandboxTree(object, options).status();
  for (FieldError& error : FieldErrorsOf(status)) errors.push_back(std::move(error));
  if (!status.ok() && errors.empty()) errors.push_back({"FieldValueInvalid", "spec", Message(status), {}});
  return errors;
}

}  // namespace isla::registry
