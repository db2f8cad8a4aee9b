#include "api/object/validate_session.h"

#include <chrono>
#include <set>

#include "api/object/names.h"
#include "api/object/quantity.h"

namespace isla::api {
namespace {

using std::chrono::nanoseconds;

// One string of argv or the environment may have 128 KiB with its final NUL (MAX_ARG_STRLEN, execve(2)).
constexpr size_t kMostStringBytes = 128 * 1024 - 1;
constexpr size_t kMostArguments = 4096;
constexpr size_t kMostVariables = 1024;
constexpr size_t kMostMounts = 64;

// systemd's CPUQuota= knows 1 % as the least.
constexpr int64_t kLeastCpuMillis = 10;
constexpr int64_t kMostCpuMillis = 10'000 * 1000;
// Less, and not even PID 1 of the container starts.
constexpr int64_t kLeastMemoryBytes = int64_t{4} << 20;
constexpr int64_t kMostMemoryBytes = int64_t{1} << 50;
// PID 1 of the container and the command; the most is the kernel's own (PID_MAX_LIMIT).
constexpr int64_t kLeastTasks = 2;
constexpr int64_t kMostTasks = int64_t{1} << 22;
// Durations travel in milliseconds, where 0 means none.
constexpr nanoseconds kLeastTimeout = std::chrono::milliseconds(1);
constexpr nanoseconds kLongestGrace = std::chrono::hours(24);

void CheckType(const Field& type, FieldErrors& errors) {
  if (type.present() && type.text() != "batch") {
    FieldError error = NotSupported(type.path(), type.value(), {"batch"});
    error.detail = fmt::format("Unsupported value: {}: not supported yet: only \"batch\"",
                               json::Serialize(type.text().substr(0, 64)));
    errors.push_back(std::move(error));
  }
}

void CheckImage(const Field& image, FieldErrors& errors) {
  if (!image.present() || image.text() == "host") return;
  if (!image.text().starts_with("dir:")) {
    errors.push_back(image.Bad("expected \"host\" or \"dir:/path\""));
    return;
  }
  const std::string_view path = image.text().substr(4);
  if (const std::string wrong = CheckAbsolutePath(path); !wrong.empty()) {
    errors.push_back(image.Bad("the path after 'dir:' " + wrong));
  } else if (path == "/") {
    errors.push_back(image.Bad("the path after 'dir:' must not be \"/\""));
  } else if (path.find_first_of(":,\\") != std::string_view::npos) {
    // They part the layers and options of an overlay mount.
    errors.push_back(image.Bad("the path after 'dir:' must have no ':', ',' or '\\' in it"));
  }
}

void CheckArguments(const Field& list, FieldErrors& errors) {
  if (list.size() > kMostArguments) {
    errors.push_back(TooLong(list.path(), list.value(), fmt::format("{} items", kMostArguments)));
    return;
  }
  for (size_t i = 0; i < list.size() && !IsFull(errors); ++i) {
    const Field item = list.Item(i);
    if (item.text().size() <= kMostStringBytes) continue;
    errors.push_back(TooLong(item.path(), item.value(), fmt::format("{} bytes", kMostStringBytes)));
  }
}

void CheckCommand(const Field& spec, FieldErrors& errors) {
  const Field command = spec.Get("command");
  if (command.size() == 0) {
    errors.push_back(command.Missing("the program to run, such as [\"/bin/sh\", \"-c\", \"...\"]"));
  } else if (const Field program = command.Item(0); program.is_string() && program.text().empty()) {
    errors.push_back(program.Bad("must not be empty"));
  }
  CheckArguments(command, errors);
  CheckArguments(spec.Get("args"), errors);
}

void CheckEnv(const Field& env, FieldErrors& errors) {
  if (env.size() > kMostVariables) {
    errors.push_back(TooLong(env.path(), env.value(), fmt::format("{} items", kMostVariables)));
    return;
  }
  std::set<std::string_view> names;
  for (size_t i = 0; i < env.size() && !IsFull(errors); ++i) {
    const Field name = env.Item(i).Get("name"), value = env.Item(i).Get("value");
    if (name.text().empty()) {
      errors.push_back(name.Missing());
      continue;
    }
    if (const std::string wrong = CheckEnvName(name.text()); !wrong.empty()) errors.push_back(name.Bad(wrong));
    if (!names.insert(name.text()).second) errors.push_back(Duplicate(name.path(), name.value()));
    if (name.text().size() + 1 + value.text().size() > kMostStringBytes) {
      const Field& longer = value.present() ? value : name;
      errors.push_back(TooLong(longer.path(), longer.value(), fmt::format("{} bytes with its name", kMostStringBytes)));
    }
  }
}

/// What is wrong with a quantity or duration, without "'value' " before it: the field error has that already.
std::string Why(const Status& status) {
  const std::string text = Message(status);
  const size_t end = text.rfind("' ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

/// A quantity from `least` to `most`, in the unit that `parse` reads and `format` prints.
void CheckQuantity(const Field& field, StatusOr<int64_t> (*parse)(std::string_view), std::string (*format)(int64_t),
                   int64_t least, int64_t most, FieldErrors& errors) {
  if (!field.present()) return;
  const StatusOr<int64_t> value = parse(field.text());
  if (!value.ok()) {
    errors.push_back(field.Bad(Why(value.status())));
  } else if (*value == 0) {
    errors.push_back(field.Bad("must be greater than 0"));
  } else if (*value < least) {
    errors.push_back(field.Bad(fmt::format("must be at least {}", format(least))));
  } else if (*value > most) {
    errors.push_back(field.Bad(fmt::format("must be at most {}", format(most))));
  }
}

void CheckResources(const Field& resources, FieldErrors& errors) {
  CheckQuantity(resources.Get("cpu"), ParseCpuMillis, FormatCpuMillis, kLeastCpuMillis, kMostCpuMillis, errors);
  CheckQuantity(resources.Get("memory"), ParseBytes, FormatBytes, kLeastMemoryBytes, kMostMemoryBytes, errors);
  const Field tasks = resources.Get("tasks");
  if (!tasks.present()) return;
  const int64_t count = tasks.value().ToInt64().value_or(0);
  if (count <= 0) errors.push_back(tasks.Bad("must be greater than 0"));
  else if (count < kLeastTasks) errors.push_back(tasks.Bad("must be at least 2: PID 1 of the container is one"));
  else if (count > kMostTasks) errors.push_back(tasks.Bad(fmt::format("must be at most {}", kMostTasks)));
}

void CheckDuration(const Field& field, nanoseconds least, nanoseconds most, FieldErrors& errors) {
  if (!field.present()) return;
  const StatusOr<nanoseconds> value = ParseDuration(field.text());
  if (!value.ok()) {
    errors.push_back(field.Bad(Why(value.status())));
  } else if (*value < least) {
    errors.push_back(field.Bad(fmt::format("must be at least {}", FormatDuration(least))));
  } else if (*value > most) {
    errors.push_back(field.Bad(fmt::format("must be at most {}", FormatDuration(most))));
  }
}

void CheckPath(const Field& field, FieldErrors& errors) {
  if (!field.present()) return;
  if (const std::string wrong = CheckAbsolutePath(field.text()); !wrong.empty()) errors.push_back(field.Bad(wrong));
}

/// The container's own: a mount there would take them away from it, or give it the node's.
bool IsReserved(std::string_view path) {
  for (const std::string_view reserved : {"/proc", "/sys", "/dev"}) {
    if (path == reserved || (path.starts_with(reserved) && path[reserved.size()] == '/')) return true;
  }
  return false;
}

void CheckMounts(const Field& mounts, FieldErrors& errors) {
  if (mounts.size() > kMostMounts) {
    errors.push_back(TooLong(mounts.path(), mounts.value(), fmt::format("{} items", kMostMounts)));
    return;
  }
  std::set<std::string_view> places;
  for (size_t i = 0; i < mounts.size() && !IsFull(errors); ++i) {
    const Field host = mounts.Item(i).Get("hostPath"), place = mounts.Item(i).Get("mountPath");
    if (host.text().empty()) errors.push_back(host.Missing());
    else CheckPath(host, errors);
    if (place.text().empty()) {
      errors.push_back(place.Missing());
      continue;
    }
    CheckPath(place, errors);
    if (place.text() == "/") errors.push_back(place.Bad("must not be \"/\""));
    if (IsReserved(place.text())) errors.push_back(place.Bad("must not be in /proc, /sys or /dev"));
    if (!places.insert(place.text()).second) errors.push_back(Duplicate(place.path(), place.value()));
  }
}

void CheckChoice(const Field& field, const std::vector<std::string>& choices, FieldErrors& errors) {
  if (!field.present()) return;
  for (const std::string& choice : choices) {
    if (field.text() == choice) return;
  }
  errors.push_back(NotSupported(field.path(), field.value(), choices));
}

}  // namespace

void CheckSession(const Field& spec, FieldErrors& errors) {
  CheckType(spec.Get("type"), errors);
  CheckImage(spec.Get("image"), errors);
  CheckCommand(spec, errors);
  CheckEnv(spec.Get("env"), errors);
  CheckPath(spec.Get("workingDir"), errors);
  CheckResources(spec.Get("resources"), errors);
  CheckLabels(spec.Get("nodeSelector"), errors);
  if (const Field timeout = spec.Get("timeout"); !timeout.text().empty()) {
    CheckDuration(timeout, kLeastTimeout, nanoseconds::max(), errors);
  }
  CheckDuration(spec.Get("terminationGracePeriod"), nanoseconds(0), kLongestGrace, errors);
  CheckChoice(spec.Get("network"), {"none", "host"}, errors);
  CheckMounts(spec.Get("mounts"), errors);
  if (const Field policy = spec.Get("sandbox").Get("policy"); !policy.text().empty()) {
    if (const std::string wrong = CheckDnsLabel(policy.text()); !wrong.empty()) errors.push_back(policy.Bad(wrong));
  }
}

}  // namespace isla::api
