#include "agentd/shim/protocol.h"

#include <limits>
#include <utility>

namespace isla::shim {
namespace {

/// Reads members of one object, strictly by type; remembers the first thing that is wrong. Strings with a
/// NUL are refused: they become C strings.
class Reader {
 public:
  Reader(const json::Value& value, std::string_view what) : value_(value), what_(what) {
    if (!value.is_object()) Fail("", "an object", value);
  }

  void Get(std::string_view name, std::string& out) {
    if (const json::Value* v = Member(name)) out = String(name, *v);
  }
  void Get(std::string_view name, bool& out) {
    const json::Value* v = Member(name);
    if (v == nullptr) return;
    if (v->is_bool()) {
      out = v->as_bool();
    } else {
      Fail(name, "a boolean", *v);
    }
  }
  template <typename Integer>
  void Get(std::string_view name, Integer& out) {
    const json::Value* v = Member(name);
    if (v == nullptr) return;
    const std::optional<int64_t> number = v->is_number() ? v->ToInt64() : std::nullopt;
    if (!number || *number < 0 || !std::in_range<Integer>(*number)) {
      Fail(name, fmt::format("an integer from 0 to {}", std::numeric_limits<Integer>::max()), *v);
    } else {
      out = static_cast<Integer>(*number);
    }
  }
  void Get(std::string_view name, std::vector<std::string>& out) {
    const json::Value* v = Member(name);
    if (v == nullptr) return;
    if (!v->is_array()) return Fail(name, "an array", *v);
    for (const json::Value& item : v->items()) out.push_back(String(name, item));
  }
  void Get(std::string_view name, std::vector<MountRequest>& out) {
    const json::Value* v = Member(name);
    if (v == nullptr) return;
    if (!v->is_array()) return Fail(name, "an array", *v);
    for (const json::Value& item : v->items()) {
      MountRequest mount;
      Reader reader(item, "a mount");
      reader.Get("hostPath", mount.host_path);
      reader.Get("mountPath", mount.mount_path);
      reader.Get("readOnly", mount.read_only);
      if (!reader.status().ok() && status_.ok()) status_ = reader.status();
      out.push_back(std::move(mount));
    }
  }

  /// As Get(), but it may be missing.
  template <typename T>
  void GetOptional(std::string_view name, T& out) {
    if (status_.ok() && value_.Find(name) != nullptr) Get(name, out);
  }

  const Status& status() const { return status_; }

 private:
  const json::Value* Member(std::string_view name) {
    if (!status_.ok()) return nullptr;
    const json::Value* v = value_.Find(name);
    if (v == nullptr) status_ = Errorf(Code::kInvalidArgument, "{}: '{}' is missing", what_, name);
    return v;
  }

  std::string String(std::string_view name, const json::Value& v) {
    if (!v.is_string()) {
      Fail(name, "a string", v);
      return {};
    }
    if (v.as_string().find('\0') != std::string::npos) Fail(name, "a string without NUL", v);
    return v.as_string();
  }

  void Fail(std::string_view name, std::string_view expected, const json::Value& have) {
    if (!status_.ok()) return;
    status_ = Errorf(Code::kInvalidArgument, "{}: '{}' must be {}, not {}", what_, name, expected, have.type_name());
  }

  const json::Value& value_;
  std::string_view what_;
  Status status_;
};

json::Value Strings(const std::vector<std::string>& items) {
  json::Array out;
  for (const std::string& item : items) out.emplace_back(item);
  return out;
}

json::Value Mounts(const std::vector<MountRequest>& mounts) {
  json::Array out;
  for (const MountRequest& m : mounts) {
    out.push_back(json::Value::MakeObject(
        {{"hostPath", m.host_path}, {"mountPath", m.mount_path}, {"readOnly", m.read_only}}));
  }
  return out;
}

}  // namespace

json::Value ToJson(const LaunchRequest& r) {
  return json::Value::MakeObject({
      {"version", r.version},
      {"uid", r.uid},
      {"incarnation", r.incarnation},
      {"scope", r.scope},
      {"hostname", r.hostname},
      {"runDir", r.run_dir},
      {"logPath", r.log_path},
      {"logMaxBytes", r.log_max_bytes},
      {"initPath", r.init_path},
      {"image", r.image},
      {"overlayDir", r.overlay_dir},
      {"argv", Strings(r.argv)},
      {"env", Strings(r.env)},
      {"workingDir", r.working_dir},
      {"cpuMillis", r.cpu_millis},
      {"memoryBytes", r.memory_bytes},
      {"tasks", r.tasks},
      {"tmpfsBytes", r.tmpfs_bytes},
      {"timeoutMsec", r.timeout_msec},
      {"gracePeriodMsec", r.grace_period_msec},
      {"hostNetwork", r.host_network},
      {"mounts", Mounts(r.mounts)},
      {"idBase", int64_t{r.id_base}},
      {"supervisorPath", r.supervisor_path},
  });
}

StatusOr<LaunchRequest> LaunchRequestFromJson(const json::Value& value) {
  LaunchRequest r;
  Reader reader(value, "launch request");
  reader.Get("version", r.version);
  RETURN_IF_ERROR(reader.status());
  if (r.version != kProtocolVersion) {
    return Errorf(Code::kInvalidArgument, "launch request of version {}: this shim knows {}", r.version,
                  kProtocolVersion);
  }
  reader.Get("uid", r.uid);
  reader.Get("incarnation", r.incarnation);
  reader.Get("scope", r.scope);
  reader.Get("hostname", r.hostname);
  reader.Get("runDir", r.run_dir);
  reader.Get("logPath", r.log_path);
  reader.Get("logMaxBytes", r.log_max_bytes);
  reader.Get("initPath", r.init_path);
  reader.Get("image", r.image);
  reader.Get("overlayDir", r.overlay_dir);
  reader.Get("argv", r.argv);
  reader.Get("env", r.env);
  reader.Get("workingDir", r.working_dir);
  reader.Get("cpuMillis", r.cpu_millis);
  reader.Get("memoryBytes", r.memory_bytes);
  reader.Get("tasks", r.tasks);
  reader.Get("tmpfsBytes", r.tmpfs_bytes);
  reader.Get("timeoutMsec", r.timeout_msec);
  reader.Get("gracePeriodMsec", r.grace_period_msec);
  reader.Get("hostNetwork", r.host_network);
  reader.Get("mounts", r.mounts);
  reader.Get("idBase", r.id_base);
  reader.GetOptional("supervisorPath", r.supervisor_path);
  RETURN_IF_ERROR(reader.status());
  return r;
}

json::Value ToJson(const ExitRecord& r) {
  return json::Value::MakeObject({
      {"exitCode", r.exit_code},
      {"signal", r.signal},
      {"cause", r.cause},
      {"step", r.step},
      {"error", r.error},
      {"atCommand", r.at_command},
      {"message", r.message},
      {"oomKills", r.oom_kills},
      {"startedAtNs", r.started_at_ns},
      {"finishedAtNs", r.finished_at_ns},
      {"peakMemoryBytes", r.peak_memory_bytes},
      {"cpuTimeUsec", r.cpu_time_usec},
      {"logDroppedBytes", r.log_dropped_bytes},
  });
}

StatusOr<ExitRecord> ExitRecordFromJson(const json::Value& value) {
  ExitRecord r;
  Reader reader(value, "exit record");
  reader.Get("exitCode", r.exit_code);
  reader.Get("signal", r.signal);
  reader.Get("cause", r.cause);
  reader.Get("step", r.step);
  reader.Get("error", r.error);
  reader.GetOptional("atCommand", r.at_command);
  reader.Get("message", r.message);
  reader.Get("oomKills", r.oom_kills);
  reader.Get("startedAtNs", r.started_at_ns);
  reader.Get("finishedAtNs", r.finished_at_ns);
  reader.Get("peakMemoryBytes", r.peak_memory_bytes);
  reader.Get("cpuTimeUsec", r.cpu_time_usec);
  reader.Get("logDroppedBytes", r.log_dropped_bytes);
  RETURN_IF_ERROR(reader.status());
  return r;
}

}  // namespace isla::shim
