// Apart from process.cc: those who keep a supervisor link this, and not all of one.
#include <linux/capability.h>

#include <charconv>

#include "sandbox/supervisor/process.h"

namespace isla::supervisor {
namespace {

constexpr uint64_t Bit(unsigned capability) { return uint64_t{1} << capability; }

Status Number(const json::Value& value, const char* name, uint64_t& out) {
  const json::Value* const member = value.Find(name);
  if (member == nullptr) return OkStatus();
  if (!member->is_number()) return Errorf(Code::kInvalidArgument, "{} is no number", name);
  const std::string_view text = member->number_text();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc() && end == text.data() + text.size()) return OkStatus();
  return Errorf(Code::kInvalidArgument, "{} is out of range", name);
}

Status String(const json::Value& value, const char* name, std::string& out) {
  const json::Value* const member = value.Find(name);
  if (member == nullptr) return OkStatus();
  if (!member->is_string()) return Errorf(Code::kInvalidArgument, "{} is no string", name);
  out = member->as_string();
  return OkStatus();
}

Status Boolean(const json::Value& value, const char* name, bool& out) {
  const json::Value* const member = value.Find(name);
  if (member == nullptr) return OkStatus();
  if (!member->is_bool()) return Errorf(Code::kInvalidArgument, "{} is no boolean", name);
  out = member->as_bool();
  return OkStatus();
}

}  // namespace

uint64_t SupervisorCapabilities(bool performs) {
  constexpr uint64_t kLook = Bit(CAP_SYS_PTRACE) | Bit(CAP_KILL);
  // Those of a container's root; a caller gets no more than it has itself (rights.h).
  constexpr uint64_t kPerform = Bit(CAP_SETUID) | Bit(CAP_SETGID) | Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) |
                                Bit(CAP_FSETID) | Bit(CAP_NET_BIND_SERVICE);
  return performs ? kLook | kPerform : kLook;
}

json::Value ToJson(const ProcessConfig& config) {
  return json::Value::MakeObject({{"waitKillable", config.wait_killable},
                                  {"policyVersion", config.policy_version},
                                  {"cpus", uint64_t{config.cpus}},
                                  {"memoryBytes", config.memory_bytes},
                                  {"tasks", config.tasks},
                                  {"hostname", config.hostname},
                                  {"callsPerSecond", uint64_t{config.calls_per_second}},
                                  {"deadlineMsec", int64_t{config.deadline.count()}},
                                  {"auditOneOfAllowed", uint64_t{config.audit.one_of_allowed}},
                                  {"auditLinesPerSecond", uint64_t{config.audit.lines_per_second}},
                                  {"userNamespace", config.user_namespace},
                                  {"uid", uint64_t{config.uid}},
                                  {"capabilities", config.capabilities}});
}

StatusOr<ProcessConfig> ProcessConfigFromJson(const json::Value& value) {
  if (!value.is_object()) return Error(Code::kInvalidArgument, "the supervisor's configuration is no object");
  ProcessConfig out;
  uint64_t uid = 0, cpus = 0, calls = out.calls_per_second, deadline = 5'000, one_of = 0, lines = out.audit.lines_per_second;
  RETURN_IF_ERROR(Boolean(value, "waitKillable", out.wait_killable));
  RETURN_IF_ERROR(Boolean(value, "userNamespace", out.user_namespace));
  RETURN_IF_ERROR(Number(value, "uid", uid));
  RETURN_IF_ERROR(Number(value, "capabilities", out.capabilities));
  RETURN_IF_ERROR(String(value, "policyVersion", out.policy_version));
  RETURN_IF_ERROR(String(value, "hostname", out.hostname));
  RETURN_IF_ERROR(Number(value, "cpus", cpus));
  RETURN_IF_ERROR(Number(value, "memoryBytes", out.memory_bytes));
  RETURN_IF_ERROR(Number(value, "tasks", out.tasks));
  RETURN_IF_ERROR(Number(value, "callsPerSecond", calls));
  RETURN_IF_ERROR(Number(value, "deadlineMsec", deadline));
  RETURN_IF_ERROR(Number(value, "auditOneOfAllowed", one_of));
  RETURN_IF_ERROR(Number(value, "auditLinesPerSecond", lines));
  for (const uint64_t number : {uid, cpus, calls, one_of, lines}) {
    if (number > UINT32_MAX) return Error(Code::kInvalidArgument, "a number is out of range");
  }
  if (deadline == 0 || deadline > 3'600'000) return Error(Code::kInvalidArgument, "deadlineMsec is out of range");
  out.uid = static_cast<uint32_t>(uid);
  out.cpus = static_cast<unsigned>(cpus);
  out.calls_per_second = static_cast<uint32_t>(calls);
  out.deadline = std::chrono::milliseconds(deadline);
  out.audit.one_of_allowed = static_cast<uint32_t>(one_of);
  out.audit.lines_per_second = static_cast<uint32_t>(lines);
  return out;
}

}  // namespace isla::supervisor
