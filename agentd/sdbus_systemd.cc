#include "agentd/sdbus_systemd.h"

#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>

#include "api/base/log.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");
constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";

std::string UnitPath(const std::string& unit) {
  char* path = nullptr;
  if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path) < 0) return "";
  std::string out = path;
  free(path);
  return out;
}

std::string Hex(const void* data, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) out += fmt::format("{:02x}", static_cast<const unsigned char*>(data)[i]);
  return out;
}

Status FromBusError(const sd_bus_error* error) {
  const std::string name = error->name == nullptr ? "" : error->name;
  const std::string text = fmt::format("{} ({})", error->message == nullptr ? "" : error->message, name);
  if (name == "org.freedesktop.systemd1.NoSuchUnit" || name == "org.freedesktop.systemd1.NoSuchProcess" ||
      name == SD_BUS_ERROR_UNKNOWN_OBJECT) {
    return Error(Code::kNotFound, text);
  }
  if (name == "org.freedesktop.systemd1.UnitExists") return Error(Code::kAlreadyExists, text);
  if (name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_TIMEOUT || name == SD_BUS_ERROR_DISCONNECTED ||
      name == "System.Error.ETIMEDOUT" || name == "System.Error.ECONNRESET" || name == "System.Error.ENOTCONN") {
    return Error(Code::kDeadlineExceeded, text);
  }
  return Error(Code::kFailedPrecondition, text);
}

/// Reads the a{sv} of Properties.GetAll; members that aren't asked for are skipped.
StatusOr<UnitInfo> ReadUnitProperties(sd_bus_message* message) {
  UnitInfo info;
  if (int r = sd_bus_message_enter_container(message, 'a', "{sv}"); r < 0) return FromErrno(-r, "read properties");
  while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
    const char* name = nullptr;
    if (sd_bus_message_read(message, "s", &name) < 0) break;
    const std::string_view key = name;
    const char* text = nullptr;
    if (key == "ActiveState" && sd_bus_message_read(message, "v", "s", &text) >= 0) {
      info.active_state = text;
    } else if (key == "ControlGroup" && sd_bus_message_read(message, "v", "s", &text) >= 0) {
      info.control_group = text;
    } else if (key == "Id" && sd_bus_message_read(message, "v", "s", &text) >= 0) {
      info.unit = text;
    } else if (key == "InvocationID" && sd_bus_message_enter_container(message, 'v', "ay") > 0) {
      const void* bytes = nullptr;
      size_t size = 0;
      if (sd_bus_message_read_array(message, 'y', &bytes, &size) >= 0) info.invocation_id = Hex(bytes, size);
      sd_bus_message_exit_container(message);
    } else if (sd_bus_message_skip(message, "v") < 0) {
      break;
    }
    sd_bus_message_exit_container(message);
  }
  return info;
}

}  // namespace

// One call under way. Owned by calls_, so that a broken connection can fail it.
struct SdbusSystemd::Call {
  SdbusSystemd* owner = nullptr;
  sd_bus_slot* slot = nullptr;
  Reply reply;
};

StatusOr<std::unique_ptr<SdbusSystemd>> SdbusSystemd::Connect(SdbusOptions options, Loop& loop) {
  std::unique_ptr<SdbusSystemd> systemd(new SdbusSystemd(std::move(options), loop));
  RETURN_IF_ERROR(systemd->Open());
  return systemd;
}

SdbusSystemd::~SdbusSystemd() {
  *alive_ = false;
  loop_.Cancel(reconnect_);
  for (Call* call : calls_) {
    sd_bus_slot_unref(call->slot);
    delete call;
  }
  for (auto& [path, job] : jobs_) loop_.Cancel(job.timeout);
  if (bus_ != nullptr) sd_bus_detach_event(bus_);
  sd_bus_close_unref(bus_);
}

Status SdbusSystemd::Open() {
  const bool try_private = geteuid() == 0 && access(options_.private_socket.c_str(), W_OK) == 0;
  if (try_private) {
    const Status status = OpenBus(true);
    if (status.ok()) return status;
    kLog.Debug("private socket of systemd", "error='{}'; trying the system bus", Message(status));
  }
  return OpenBus(false);
}

Status SdbusSystemd::OpenBus(bool private_socket) {
  sd_bus* bus = nullptr;
  const auto fail = [&bus](int r, const char* what) {
    sd_bus_close_unref(bus);
    return Error(Code::kUnavailable, fmt::format("{}: {}", what, Message(FromErrno(-r, "systemd"))));
  };
  int r = 0;
  if (private_socket) {
    r = sd_bus_new(&bus);
    if (r >= 0) r = sd_bus_set_address(bus, ("unix:path=" + options_.private_socket).c_str());
    if (r >= 0) r = sd_bus_start(bus);
    if (r < 0) return fail(r, "connect to systemd's private socket");
  } else {
    r = sd_bus_open_system(&bus);
    if (r < 0) return fail(r, "connect to the system bus");
  }
  r = sd_bus_attach_event(bus, loop_.event(), 0);
  if (r < 0) return fail(r, "attach the bus to the loop");
  const char* sender = private_socket ? nullptr : kService;
  r = sd_bus_match_signal(bus, nullptr, sender, kManagerPath, kManager, "JobRemoved", OnJobRemoved, this);
  if (r < 0) return fail(r, "watch jobs");
  r = sd_bus_match_signal(bus, nullptr, nullptr, "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                          "Disconnected", OnDisconnected, this);
  if (r < 0) return fail(r, "watch the connection");
  bus_ = bus;
  if (!private_socket) {
    auto subscribe = NewCall(kManagerPath, kManager, "Subscribe");
    if (subscribe.ok()) Send(*subscribe, [](const StatusOr<sd_bus_message*>&) {});
  }
  ReadVersion();
  return OkStatus();
}

void SdbusSystemd::OnBroken() {
  if (bus_ == nullptr) return;
  kLog.Warn("connection to systemd broke", "calls={} jobs={}; connecting again", calls_.size(), jobs_.size());
  sd_bus* bus = std::exchange(bus_, nullptr);
  sd_bus_detach_event(bus);
  const Status lost = Error(Code::kDeadlineExceeded, "the connection to systemd broke");
  std::vector<Reply> replies;
  for (Call* call : calls_) {
    sd_bus_slot_unref(call->slot);
    replies.push_back(std::move(call->reply));
    delete call;
  }
  calls_.clear();
  std::vector<std::string> paths;
  for (const auto& [path, job] : jobs_) paths.push_back(path);
  // The bus is closed once its own callback, which may be the caller, has returned.
  loop_.Post([bus] { sd_bus_close_unref(bus); });
  for (auto& reply : replies) Fail(std::move(reply), lost);
  for (const auto& path : paths) FinishJob(path, lost);
  if (reconnect_ == 0) reconnect_ = loop_.After(options_.reconnect_first, [this] { Reconnect(); });
}

void SdbusSystemd::Reconnect() {
  reconnect_ = 0;
  const Status status = Open();
  if (status.ok()) {
    reconnect_delay_ = Duration::zero();
    kLog.Info("connected to systemd again");
    return;
  }
  reconnect_delay_ = std::min(std::max(reconnect_delay_ * 2, options_.reconnect_first), options_.reconnect_last);
  kLog.Debug("connect to systemd", "error='{}'", Message(status));
  reconnect_ = loop_.After(reconnect_delay_, [this] { Reconnect(); });
}

int SdbusSystemd::OnDisconnected(sd_bus_message*, void* data, sd_bus_error*) {
  static_cast<SdbusSystemd*>(data)->OnBroken();
  return 0;
}

StatusOr<sd_bus_message*> SdbusSystemd::NewCall(const char* path, const char* interface, const char* member) {
  if (bus_ == nullptr) return Error(Code::kUnavailable, "no connection to systemd");
  sd_bus_message* message = nullptr;
  const int r = sd_bus_message_new_method_call(bus_, &message, kService, path, interface, member);
  if (r < 0) return FromErrno(-r, member);
  return message;
}

void SdbusSystemd::Fail(Reply reply, Status status) {
  loop_.Post([alive = alive_, reply = std::move(reply), status = std::move(status)] {
    if (*alive) reply(status);
  });
}

void SdbusSystemd::Send(sd_bus_message* message, Reply reply) {
  auto* call = new Call{this, nullptr, std::move(reply)};
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(options_.call_timeout).count();
  const int r = sd_bus_call_async(bus_, &call->slot, message, OnReply, call, static_cast<uint64_t>(micros));
  sd_bus_message_unref(message);
  if (r < 0) {
    Fail(std::move(call->reply), Error(Code::kUnavailable, Message(FromErrno(-r, "send to systemd"))));
    delete call;
    return;
  }
  calls_.insert(call);
}

int SdbusSystemd::OnReply(sd_bus_message* message, void* data, sd_bus_error*) {
  auto* call = static_cast<Call*>(data);
  SdbusSystemd* owner = call->owner;
  owner->calls_.erase(call);
  const Reply reply = std::move(call->reply);
  sd_bus_slot_unref(call->slot);
  delete call;
  const sd_bus_error* error = sd_bus_message_get_error(message);
  if (error != nullptr) {
    reply(FromBusError(error));
  } else {
    reply(message);
  }
  return 0;
}

// ---- Jobs ------------------------------------------------------------------------------------------------

void SdbusSystemd::WaitForJob(const std::string& path, const std::string& unit,
                              Callback<StatusOr<std::string>> done) {
  // The reply with the job's path comes before the signal: one connection keeps its order.
  Job& job = jobs_[path];
  job.unit = unit;
  job.done = std::move(done);
  job.timeout = loop_.After(options_.job_timeout, [this, path] {
    FinishJob(path, Error(Code::kDeadlineExceeded, "no word of the job in time"));
  });
}

void SdbusSystemd::FinishJob(const std::string& path, StatusOr<std::string> result) {
  const auto it = jobs_.find(path);
  if (it == jobs_.end()) return;
  const Job job = std::move(it->second);
  jobs_.erase(it);
  loop_.Cancel(job.timeout);
  loop_.Post([alive = alive_, done = job.done, result = std::move(result)] {
    if (*alive) done(result);
  });
}

int SdbusSystemd::OnJobRemoved(sd_bus_message* message, void* data, sd_bus_error*) {
  uint32_t id = 0;
  const char *path = nullptr, *unit = nullptr, *result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0) return 0;
  static_cast<SdbusSystemd*>(data)->FinishJob(path, std::string(result));
  return 0;
}

// ---- The methods -----------------------------------------------------------------------------------------

StatusOr<sd_bus_message*> SdbusSystemd::BuildStart(const ScopeSpec& spec) {
  ASSIGN_OR_RETURN(sd_bus_message * message, NewCall(kManagerPath, kManager, "StartTransientUnit"));
  int r = sd_bus_message_append(message, "ss", spec.unit.c_str(), "fail");
  const auto check = [&r](int next) { r = r < 0 ? r : next; };
  const auto wanted = [this](const char* name) { return !dropped_.contains(name); };
  const auto text = [&](const char* name, const char* value) {
    if (wanted(name)) check(sd_bus_message_append(message, "(sv)", name, "s", value));
  };
  const auto number = [&](const char* name, int64_t value) {
    if (wanted(name)) check(sd_bus_message_append(message, "(sv)", name, "t", static_cast<uint64_t>(value)));
  };
  check(sd_bus_message_open_container(message, 'a', "(sv)"));
  check(sd_bus_message_open_container(message, 'r', "sv"));
  check(sd_bus_message_append(message, "s", "PIDs"));
  check(sd_bus_message_open_container(message, 'v', "au"));
  check(sd_bus_message_open_container(message, 'a', "u"));
  for (const pid_t pid : spec.pids) check(sd_bus_message_append(message, "u", static_cast<uint32_t>(pid)));
  for (int i = 0; i < 3; ++i) check(sd_bus_message_close_container(message));
  text("Slice", spec.slice.c_str());
  text("Description", spec.description.c_str());
  text("CollectMode", "inactive-or-failed");
  text("ManagedOOMPreference", "avoid");
  check(sd_bus_message_append(message, "(sv)", "Delegate", "b", 1));
  // A limit of 0 would mean something else to systemd; there is always the margin, so it can't be 0.
  number("CPUQuotaPerSecUSec", std::max<int64_t>(1, spec.cpu_millis) * 1000);
  number("MemoryMax", spec.memory_bytes);
  if (options_.swap_limit) number("MemorySwapMax", 0);
  number("TasksMax", spec.tasks);
  number("TimeoutStopUSec", spec.stop_timeout / std::chrono::microseconds(1));
  if (!options_.after_unit.empty() && wanted("After")) {
    check(sd_bus_message_append(message, "(sv)", "After", "as", 1, options_.after_unit.c_str()));
  }
  check(sd_bus_message_close_container(message));
  check(sd_bus_message_append(message, "a(sa(sv))", 0));
  if (r < 0) {
    sd_bus_message_unref(message);
    return FromErrno(-r, "build StartTransientUnit");
  }
  return message;
}

/// If `error` says that this systemd doesn't know an optional property: leaves it out from now on.
bool SdbusSystemd::DropProperty(const std::string& error) {
  for (const char* name : {"ManagedOOMPreference", "MemorySwapMax", "CollectMode", "Description", "After"}) {
    if (error.find(name) == std::string::npos || !dropped_.insert(name).second) continue;
    kLog.Warn("systemd refuses a property", "property={} error='{}'; doing without", name, error);
    return true;
  }
  return false;
}

void SdbusSystemd::StartScope(const ScopeSpec& spec, Callback<StatusOr<UnitInfo>> done) {
  auto message = BuildStart(spec);
  if (!message.ok()) {
    Fail([done](const StatusOr<sd_bus_message*>& r) { done(r.status()); }, message.status());
    return;
  }
  Send(*message, [this, spec, done = std::move(done)](const StatusOr<sd_bus_message*>& reply) {
    if (!reply.ok()) {
      if (reply.status().code() == Code::kFailedPrecondition && DropProperty(Message(reply.status()))) {
        StartScope(spec, done);
      } else {
        done(Annotate(reply.status(), fmt::format("start {}", spec.unit)));
      }
      return;
    }
    const char* path = nullptr;
    if (sd_bus_message_read(*reply, "o", &path) < 0) {
      done(Errorf(Code::kDeadlineExceeded, "start {}: no job in the answer", spec.unit));
      return;
    }
    WaitForJob(path, spec.unit, [this, unit = spec.unit, done](const StatusOr<std::string>& result) {
      if (!result.ok()) {
        done(Annotate(result.status(), fmt::format("start {}", unit)));
      } else if (*result != "done") {
        done(Errorf(Code::kFailedPrecondition, "start {}: the job ended '{}'", unit, *result));
      } else {
        ReadStarted(unit, done);
      }
    });
  });
}

void SdbusSystemd::StopUnit(const std::string& unit, Callback<Status> done) {
  auto message = NewCall(kManagerPath, kManager, "StopUnit");
  if (message.ok()) sd_bus_message_append(*message, "ss", unit.c_str(), "replace");
  if (!message.ok()) {
    Fail([done](const StatusOr<sd_bus_message*>& r) { done(r.status()); }, message.status());
    return;
  }
  Send(*message, [this, unit, done = std::move(done)](const StatusOr<sd_bus_message*>& reply) {
    const char* path = nullptr;
    if (!reply.ok() || sd_bus_message_read(*reply, "o", &path) < 0) {
      done(reply.ok() ? Error(Code::kDeadlineExceeded, "no job in the answer") : reply.status());
      return;
    }
    WaitForJob(path, unit, [unit, done](const StatusOr<std::string>& result) {
      if (!result.ok()) {
        done(result.status());
      } else if (*result != "done") {
        done(Errorf(Code::kFailedPrecondition, "stop {}: the job ended '{}'", unit, *result));
      } else {
        done(OkStatus());
      }
    });
  });
}

void SdbusSystemd::KillUnit(const std::string& unit, int signal, Callback<Status> done) {
  auto message = NewCall(kManagerPath, kManager, "KillUnit");
  if (message.ok()) sd_bus_message_append(*message, "ssi", unit.c_str(), "all", signal);
  const auto reply = [done = std::move(done)](const StatusOr<sd_bus_message*>& r) { done(r.status()); };
  if (message.ok()) {
    Send(*message, reply);
  } else {
    Fail(reply, message.status());
  }
}

void SdbusSystemd::ResetFailed(const std::string& unit, Callback<Status> done) {
  auto message = NewCall(kManagerPath, kManager, "ResetFailedUnit");
  if (message.ok()) sd_bus_message_append(*message, "s", unit.c_str());
  const auto reply = [done = std::move(done)](const StatusOr<sd_bus_message*>& r) { done(r.status()); };
  if (message.ok()) {
    Send(*message, reply);
  } else {
    Fail(reply, message.status());
  }
}

void SdbusSystemd::GetUnit(const std::string& unit, Callback<StatusOr<UnitInfo>> done) {
  // Asking for properties by path would make systemd load a unit that isn't there: ask for its name first.
  auto message = NewCall(kManagerPath, kManager, "GetUnit");
  if (message.ok()) sd_bus_message_append(*message, "s", unit.c_str());
  const auto reply = [this, unit, done = std::move(done)](const StatusOr<sd_bus_message*>& r) {
    if (r.ok()) {
      GetProperties(unit, done);
    } else {
      done(r.status());
    }
  };
  if (message.ok()) {
    Send(*message, reply);
  } else {
    Fail(reply, message.status());
  }
}

void SdbusSystemd::GetProperties(const std::string& unit, Callback<StatusOr<UnitInfo>> done) {
  auto message = NewCall(UnitPath(unit).c_str(), "org.freedesktop.DBus.Properties", "GetAll");
  if (message.ok()) sd_bus_message_append(*message, "s", "");
  const auto reply = [unit, done = std::move(done)](const StatusOr<sd_bus_message*>& r) {
    if (!r.ok()) {
      done(r.status());
      return;
    }
    auto info = ReadUnitProperties(*r);
    if (info.ok() && (info->active_state == "inactive" || info->active_state.empty())) {
      done(Errorf(Code::kNotFound, "unit {} is not there", unit));
      return;
    }
    if (info.ok()) info->unit = unit;
    done(std::move(info));
  };
  if (message.ok()) {
    Send(*message, reply);
  } else {
    Fail(reply, message.status());
  }
}

/// After its job is done: the two properties that a start needs, asked for at once. All of them would cost
/// systemd more than the start itself.
void SdbusSystemd::ReadStarted(const std::string& unit, Callback<StatusOr<UnitInfo>> done) {
  auto info = std::make_shared<UnitInfo>();
  info->unit = unit;
  info->active_state = "active";
  const std::string path = UnitPath(unit);
  auto group = NewCall(path.c_str(), "org.freedesktop.DBus.Properties", "Get");
  auto invocation = NewCall(path.c_str(), "org.freedesktop.DBus.Properties", "Get");
  if (!group.ok() || !invocation.ok()) {
    // The scope was started, so this is an unknown outcome, not a call that wasn't made.
    Fail([done](const StatusOr<sd_bus_message*>& r) { done(r.status()); },
         Error(Code::kDeadlineExceeded, "the connection to systemd broke"));
    return;
  }
  sd_bus_message_append(*group, "ss", "org.freedesktop.systemd1.Scope", "ControlGroup");
  sd_bus_message_append(*invocation, "ss", "org.freedesktop.systemd1.Unit", "InvocationID");
  Send(*group, [info](const StatusOr<sd_bus_message*>& reply) {
    const char* text = nullptr;
    if (reply.ok() && sd_bus_message_read(*reply, "v", "s", &text) >= 0) info->control_group = text;
  });
  Send(*invocation, [info, done = std::move(done)](const StatusOr<sd_bus_message*>& reply) {
    const void* bytes = nullptr;
    size_t size = 0;
    if (!reply.ok()) {
      done(reply.status());
    } else if (sd_bus_message_enter_container(*reply, 'v', "ay") <= 0 ||
               sd_bus_message_read_array(*reply, 'y', &bytes, &size) < 0 || size == 0) {
      done(Errorf(Code::kFailedPrecondition, "unit {} has no invocation id: it is gone already", info->unit));
    } else {
      info->invocation_id = Hex(bytes, size);
      done(*info);
    }
  });
}

void SdbusSystemd::ListScopes(Callback<StatusOr<std::vector<UnitInfo>>> done) {
  auto message = NewCall(kManagerPath, kManager, "ListUnitsByPatterns");
  if (message.ok()) sd_bus_message_append(*message, "asas", 0, 1, "isla-*.scope");
  const auto reply = [done = std::move(done)](const StatusOr<sd_bus_message*>& r) {
    if (!r.ok()) {
      done(r.status());
      return;
    }
    std::vector<UnitInfo> units;
    const char *name = nullptr, *description = nullptr, *load = nullptr, *active = nullptr, *sub = nullptr;
    const char *follow = nullptr, *path = nullptr, *job_type = nullptr, *job_path = nullptr;
    uint32_t job = 0;
    if (sd_bus_message_enter_container(*r, 'a', "(ssssssouso)") < 0) {
      done(Error(Code::kFailedPrecondition, "can't read the list of units"));
      return;
    }
    while (sd_bus_message_read(*r, "(ssssssouso)", &name, &description, &load, &active, &sub, &follow, &path, &job,
                               &job_type, &job_path) > 0) {
      if (std::string_view(active) == "inactive") continue;
      UnitInfo unit;
      unit.unit = name;
      unit.active_state = active;
      units.push_back(std::move(unit));
    }
    done(std::move(units));
  };
  if (message.ok()) {
    Send(*message, reply);
  } else {
    Fail(reply, message.status());
  }
}

void SdbusSystemd::ReadVersion() {
  auto message = NewCall(kManagerPath, "org.freedesktop.DBus.Properties", "Get");
  if (!message.ok()) return;
  sd_bus_message_append(*message, "ss", kManager, "Version");
  Send(*message, [this](const StatusOr<sd_bus_message*>& reply) {
    const char* text = nullptr;
    if (reply.ok() && sd_bus_message_read(*reply, "v", "s", &text) >= 0) version_ = text;
  });
}

}  // namespace isla::agent
