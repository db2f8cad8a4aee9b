#include "controllers/scheduler/launch.h"

#include <utility>

#include "api/base/uuid.h"
#include "api/object/object.h"
#include "api/object/quantity.h"
#include "isla/v1/agent.pb.h"
#include "isla/v1/objects.pb.h"

namespace isla::controllers {

namespace {

StatusOr<int64_t> Milliseconds(const std::string& text, int64_t fallback, std::string_view field) {
  if (text.empty()) return fallback;
  const StatusOr<std::chrono::nanoseconds> duration = api::ParseDuration(text);
  if (!duration.ok()) return Annotate(duration.status(), field);
  return std::chrono::ceil<std::chrono::milliseconds>(*duration).count();
}

}  // namespace

StatusOr<Resources> RequestOf(const SessionSpec& spec, const PolicySpec* policy) {
  RETURN_IF_ERROR(spec.valid);
  return Add(spec.asked, {0, policy == nullptr ? 0 : policy->program_room, 0});
}

StatusOr<Launch> MakeLaunch(const std::string& ns, const std::string& name, const Stored<SessionSpec>& stored, const PolicySpec* policy) {
  const SessionSpec& spec = stored.value;
  Launch launch;
  ASSIGN_OR_RETURN(launch.resources, RequestOf(spec, policy));
  ASSIGN_OR_RETURN(const isla::v1::Session session, DecodeSession(stored.kv->value));
  const isla::v1::SessionSpec& wish = session.spec();
  isla::v1::LaunchSpec out;
  out.set_namespace_(ns);
  out.set_session(name);
  out.set_session_uid(spec.meta.uid);
  out.set_name("main");
  out.set_image(wish.image().empty() ? "host" : wish.image());
  for (const std::string& part : wish.command()) out.add_argv(part);
  for (const std::string& part : wish.args()) out.add_argv(part);
  for (const isla::v1::EnvVar& variable : wish.env()) out.add_env(variable.name() + "=" + variable.value());
  out.set_working_dir(wish.working_dir().empty() ? "/" : wish.working_dir());
  out.set_cpu_millis(spec.asked.cpu_millis);
  out.set_memory_bytes(spec.asked.memory_bytes);
  out.set_tasks(spec.asked.tasks);
  ASSIGN_OR_RETURN(const int64_t timeout, Milliseconds(wish.timeout(), 0, "spec.timeout"));
  out.set_timeout_msec(timeout);
  ASSIGN_OR_RETURN(launch.grace_period_msec,
                   Milliseconds(wish.termination_grace_period(), 30'000, "spec.terminationGracePeriod"));
  out.set_grace_period_msec(launch.grace_period_msec);
  out.set_network(wish.network().empty() ? "none" : wish.network());
  for (const isla::v1::Mount& asked : wish.mounts()) {
    isla::v1::LaunchMount& mount = *out.add_mounts();
    mount.set_host_path(asked.host_path());
    mount.set_mount_path(asked.mount_path());
    mount.set_read_only(asked.read_only());
  }
  out.set_sandbox_policy(wish.sandbox().policy().empty() ? "default" : wish.sandbox().policy());
  if (policy != nullptr) out.set_sandbox_policy_hash(policy->hash);
  launch.document = api::FromMessage(out);
  launch.hash = Sha256Hex(json::Serialize(launch.document));
  return launch;
}

}  // namespace isla::controllers
