#include "sandbox/manifest/sandbox_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/base/did_you_mean.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/decoder.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/program/policy_program.h"

namespace isla::sandbox {
namespace {

void CheckHead(Decoder& decoder, const Field& root, SandboxPolicy& out) {
  const auto must_be = [&decoder](const Field& field, std::string_view value) {
    const auto text = decoder.String(field);
    if (!field.present()) decoder.errors().push_back(field.Missing(fmt::format("\"{}\"", value)));
    else if (text && *text != value) decoder.errors().push_back(NotSupported(field.path(), field.value(), {std::string(value)}));
  };
  must_be(root.Get("apiVersion"), "isla/v1");
  must_be(root.Get("kind"), "SandboxPolicy");
  const Field metadata = root.Get("metadata");
  if (!metadata.is_object()) {
    decoder.errors().push_back(metadata.present() ? TypeInvalid("metadata", metadata.value(), "an object") : metadata.Missing());
    return;
  }
  // Its other members are the API's: labels, annotations, resourceVersion...
  const Field name = metadata.Get("name");
  out.name = decoder.String(name).value_or("");
  if (!name.present()) decoder.errors().push_back(name.Missing());
  else if (name.is_string() && !IsPolicyName(out.name)) decoder.Bad(name, "must be of lower-case letters, digits, inner '-' and '.', at most 63 of them");
}

/// What neither rules nor base decide. The supervisor can't be asked about every call, so it is the kernel's.
void DecodeDefault(Decoder& decoder, const Field& field, const Field& base, Policy& policy) {
  if (!field.present()) return;
  if (base.Get("profile").present()) {
    decoder.errors().push_back(Forbidden(field.path(), field.value(), "the profile of base has a default of its own"));
    return;
  }
  const auto action = DecodeAction(decoder, field, {});
  if (!action) return;
  if (!action->InKernel()) {
    decoder.Bad(field, "must be \"allow\", \"log\", \"kill\" or {\"errno\": ...}");
    return;
  }
  policy.rules[0].action = *action;
  policy.rules[0].position = field.value().position();
}

void DecodeBase(Decoder& decoder, const Field& base, Policy& policy) {
  if (!base.present()) {
    decoder.errors().push_back(base.Missing("groups of calls to allow, {\"groups\": [\"@container\"]}, or a profile"));
    return;
  }
  if (!decoder.Object(base, {"groups", "profile", "capabilities", "kernel"})) return;
  const bool groups = base.Get("groups").present(), profile = base.Get("profile").present();
  if (groups == profile) {
    decoder.Bad(base, "must have one of groups and profile");
    return;
  }
  if (profile) return ImportProfile(decoder, base.Get("profile"), base.Get("capabilities"), base.Get("kernel"), policy);
  for (const char* name : {"capabilities", "kernel"}) {
    if (base.Get(name).present()) decoder.errors().push_back(Forbidden(base.Get(name).path(), base.Get(name).value(), "goes with a profile only"));
  }
  const RuleId rule = policy.AddRule("base", Action::Allow(), base.value().position());
  policy.rules[rule].where = "base";
  for (const Syscall* call : DecodeCalls(decoder, base.Get("groups")).calls) {
    if (const int number = call->NumberOn(policy.arch); number >= 0) policy.Append(number, rule);
  }
}

/// Where a line of a text begins; its end if it has less lines.
size_t OffsetOfLine(std::string_view text, int line) {
  size_t at = 0;
  for (int i = 1; i < line && at < text.size(); ++i) at = std::min(text.find('\n', at), text.size() - 1) + 1;
  while (at < text.size() && text[at] == ' ') ++at;
  return std::min(at, text.size());
}

/// The source must be one, and have the functions that rules name.
void CheckPrograms(Decoder& decoder, const Field& program, const Policy& policy, const Sections& sections, bool run) {
  std::vector<std::string> functions;
  if (sections.program && !run) return;  // whoever runs it finds out
  if (sections.program) {
    ProgramCheck check = CheckProgram(*sections.program, policy.arch);
    if (!check.error.empty()) {
      const std::string where = check.line > 0 ? fmt::format("line {} of it: ", check.line) : "";
      return decoder.BadAt(program.Get("source"), OffsetOfLine(sections.program->source, check.line), where + check.error);
    }
    functions = std::move(check.functions);
  }
  for (const Rule& rule : policy.rules) {
    if (rule.action.kind != Action::Kind::kProgram) continue;
    const std::string& name = rule.action.text;
    if (std::binary_search(functions.begin(), functions.end(), name)) continue;
    decoder.errors().push_back({"FieldValueInvalid", "spec." + rule.where,
                                sections.program ? fmt::format("Invalid value: spec.program.source has no function '{}'{}", name, DidYouMean(name, functions))
                                                 : fmt::format("Invalid value: the action is function '{}', but there is no spec.program", name),
                                rule.position});
  }
}

/// What else the kernel would take for the same: else a policy that forbids one way leaves another.
void AddImpliedRules(const Field& spec, SandboxPolicy& out) {
  const auto& exec = out.sections.exec;
  const auto& files = out.sections.files;
  if (exec && !exec->allow.empty()) {
    AddExecRules("exec.allow", spec.Get("exec").value().position(), out.policy);
  } else if (files && !files->allow.empty()) {
    AddExecRules("files.allow", spec.Get("files").value().position(), out.policy);
  }
  const auto connect = out.policy.calls.find(*SyscallNumber(out.policy.arch, "connect"));
  const bool ruled = connect != out.policy.calls.end() && std::any_of(connect->second.begin(), connect->second.end(), [&](const CallRule& rule) {
    return !out.policy.ActionOf(rule.rule).Continues() || rule.when.kind() != Condition::Kind::kTrue;
  });
  // Of a net section whoever keeps it sees to that: the control group's programs are asked, and the supervisor's rules have their own.
  if (ruled) AddConnectRules(spec.Get("rules").value().position(), out.policy);
}

void DecodeManifest(Decoder& decoder, const Field& root, bool run_program, SandboxPolicy& out) {
  if (!decoder.Object(root, {"apiVersion", "kind", "metadata", "spec", "status"})) return;
  CheckHead(decoder, root, out);
  const Field spec = root.Get("spec");
  if (!decoder.Object(spec, {"mode", "base", "default", "rules", "files", "exec", "net", "view", "limits", "audit", "program"})) return;
  if (const auto mode = decoder.Choice(spec.Get("mode"), {"enforce", "warn", "learn"})) out.policy.mode = static_cast<Mode>(*mode);
  DecodeSections(decoder, spec, out.sections);
  DecodeRules(decoder, spec.Get("rules"), out.policy);
  if (out.sections.view) AddViewRules(*out.sections.view, spec.Get("view").value().position(), out.policy);
  AddImpliedRules(spec, out);
  DecodeDefault(decoder, spec.Get("default"), spec.Get("base"), out.policy);
  DecodeBase(decoder, spec.Get("base"), out.policy);
  CheckPrograms(decoder, spec.Get("program"), out.policy, out.sections, run_program);
}

/// As one reads the text from its beginning.
void InOrder(FieldErrors& errors) {
  std::stable_sort(errors.begin(), errors.end(), [](const FieldError& a, const FieldError& b) {
    return std::pair(a.position.line, a.position.column) < std::pair(b.position.line, b.position.column);
  });
}

}  // namespace

bool IsPolicyName(std::string_view text) {
  const auto inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' && std::all_of(text.begin(), text.end(), inner);
}

StatusOr<SandboxPolicy> DecodeSandboxTree(const json::Value& tree, const DecodeOptions& options, std::string_view text) {
  SandboxPolicy out;
  out.policy.arch = options.arch;
  Decoder decoder(text, options);
  const Field root(tree);
  const bool bare_profile = tree.Find("defaultAction") != nullptr && tree.Find("kind") == nullptr;
  if (bare_profile) {
    out.name = "profile";
    ImportProfile(decoder, root, root.Get("capabilities"), root.Get("kernel"), out.policy);
  } else {
    DecodeManifest(decoder, root, options.run_program, out);
  }
  // What follows looks at all rules together: it would only repeat what is wrong with one.
  if (decoder.errors().empty()) CheckContinues(decoder, out.policy);
  InOrder(decoder.errors());
  if (!decoder.errors().empty()) return InvalidObject("SandboxPolicy", out.name, decoder.errors());
  if (options.find_unreachable) {
    FindUnreachable(decoder, out.policy);
    FindOpenSiblings(decoder, out.policy);
  }
  InOrder(decoder.warnings());
  out.warnings = std::move(decoder.warnings());
  return out;
}

}  // namespace isla::sandbox
