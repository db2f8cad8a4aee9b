// What needs the hash of a text: apart from the rest, which confined programs link without a cryptographic library.
#include "api/base/uuid.h"
#include "sandbox/manifest/sandbox_policy.h"

namespace isla::sandbox {

StatusOr<SandboxPolicy> DecodeSandboxPolicy(std::string_view text, const DecodeOptions& options) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(text, {.max_bytes = options.max_bytes}));
  ASSIGN_OR_RETURN(SandboxPolicy out, DecodeSandboxTree(tree, options, text));
  out.hash = Sha256Hex(text);
  return out;
}

StatusOr<CompiledPolicy> CompileManifest(std::string_view text, const DecodeOptions& options) {
  ASSIGN_OR_RETURN(SandboxPolicy decoded, DecodeSandboxPolicy(text, options));
  return CompilePolicy(decoded.policy, std::move(decoded.sections), std::move(decoded.name), std::move(decoded.hash));
}

}  // namespace isla::sandbox
