#include "agentd/node_config.h"

#include <algorithm>
#include <limits>

#include "api/base/json.h"
#include "api/base/unique_fd.h"

namespace isla::agent {
namespace {

using json::Value;

Status Wrong(const Value& value, const std::string& field, const std::string& what) {
  return Errorf(Code::kInvalidArgument, "{}: {} (line {}:{})", field, what, value.position().line,
                value.position().column);
}

/// Every member of `object` must be one of `names`.
Status CheckMembers(const Value& object, const std::string& field, std::initializer_list<std::string_view> names) {
  if (!object.is_object()) return Wrong(object, field, fmt::format("expected an object, got {}", object.type_name()));
  for (const auto& member : object.members()) {
    if (std::find(names.begin(), names.end(), member.name) == names.end()) {
      return Wrong(member.value, field == "node.json" ? member.name : field + "." + member.name, "unknown member");
    }
  }
  return OkStatus();
}

Status ReadNumber(const Value& object, const std::string& field, std::string_view name, int64_t least, int64_t most,
                  int64_t& out) {
  const Value* value = object.Find(name);
  if (value == nullptr) return OkStatus();
  const std::string path = fmt::format("{}.{}", field, name);
  const auto number = value->ToInt64();
  if (!number.has_value()) return Wrong(*value, path, fmt::format("expected an integer, got {}", value->type_name()));
  if (*number < least || *number > most) {
    return Wrong(*value, path, fmt::format("must be between {} and {}", least, most));
  }
  out = *number;
  return OkStatus();
}

Status ReadPath(const Value& value, const std::string& field, std::string& out) {
  if (!value.is_string()) return Wrong(value, field, fmt::format("expected a string, got {}", value.type_name()));
  if (value.as_string().empty() || value.as_string()[0] != '/') return Wrong(value, field, "must be an absolute path");
  out = value.as_string();
  return OkStatus();
}

Status ReadBool(const Value& object, const std::string& field, std::string_view name, bool& out) {
  const Value* value = object.Find(name);
  if (value == nullptr) return OkStatus();
  if (!value->is_bool()) {
    return Wrong(*value, field, fmt::format("expected true or false, got {}", value->type_name()));
  }
  out = value->as_bool();
  return OkStatus();
}

Status ReadCapacity(const Value& root, NodeConfig& config) {
  const Value* value = root.Find("capacity");
  if (value == nullptr) return OkStatus();
  RETURN_IF_ERROR(CheckMembers(*value, "capacity", {"cpuMillis", "memoryBytes", "tasks"}));
  const auto read = [value](std::string_view name, std::optional<int64_t>& out) {
    int64_t number = -1;
    RETURN_IF_ERROR(ReadNumber(*value, "capacity", name, 0, std::numeric_limits<int64_t>::max(), number));
    if (number >= 0) out = number;
    return OkStatus();
  };
  RETURN_IF_ERROR(read("cpuMillis", config.cpu_millis));
  RETURN_IF_ERROR(read("memoryBytes", config.memory_bytes));
  return read("tasks", config.tasks);
}

Status ReadRoots(const Value& root, NodeConfig& config) {
  if (const Value* images = root.Find("imageRoots"); images != nullptr) {
    if (!images->is_array()) return Wrong(*images, "imageRoots", "expected an array of paths");
    for (const Value& item : images->items()) {
      RETURN_IF_ERROR(ReadPath(item, "imageRoots", config.image_roots.emplace_back()));
    }
  }
  const Value* mounts = root.Find("mountRoots");
  if (mounts == nullptr) return OkStatus();
  if (!mounts->is_array()) return Wrong(*mounts, "mountRoots", "expected an array of {\"path\", \"readOnly\"}");
  for (const Value& item : mounts->items()) {
    RETURN_IF_ERROR(CheckMembers(item, "mountRoots", {"path", "readOnly"}));
    const Value* path = item.Find("path");
    if (path == nullptr) return Wrong(item, "mountRoots", "an entry needs a path");
    MountRoot& mount = config.mount_roots.emplace_back();
    RETURN_IF_ERROR(ReadPath(*path, "mountRoots.path", mount.path));
    RETURN_IF_ERROR(ReadBool(item, "mountRoots.readOnly", "readOnly", mount.read_only));
  }
  return OkStatus();
}

Status ReadIds(const Value& root, NodeConfig& config) {
  const Value* value = root.Find("ids");
  if (value == nullptr) return OkStatus();
  RETURN_IF_ERROR(CheckMembers(*value, "ids", {"first", "count"}));
  int64_t first = config.first_id;
  int64_t count = config.id_count;
  // Below 65536 are the ids of real users; 2^32 - 1 is no id.
  RETURN_IF_ERROR(ReadNumber(*value, "ids", "first", 65536, 0xFFFFFFFELL - kIdsPerContainer, first));
  RETURN_IF_ERROR(ReadNumber(*value, "ids", "count", kIdsPerContainer, 0xFFFFFFFFLL, count));
  if (first + count > 0xFFFFFFFELL) return Wrong(*value, "ids", "first + count is beyond the last id");
  config.first_id = static_cast<uint32_t>(first);
  config.id_count = static_cast<uint32_t>(count);
  return OkStatus();
}

Status ReadLabels(const Value& root, NodeConfig& config) {
  const Value* value = root.Find("labels");
  if (value == nullptr) return OkStatus();
  if (!value->is_object()) return Wrong(*value, "labels", "expected an object of strings");
  for (const auto& member : value->members()) {
    if (!member.value.is_string()) return Wrong(member.value, "labels." + member.name, "expected a string");
    config.labels[member.name] = member.value.as_string();
  }
  return OkStatus();
}

}  // namespace

StatusOr<NodeConfig> ParseNodeConfig(std::string_view text) {
  ASSIGN_OR_RETURN(const Value root, json::Parse(text));
  RETURN_IF_ERROR(CheckMembers(root, "node.json",
                               {"capacity", "hostNetwork", "imageRoots", "mountRoots", "ids", "logs", "labels"}));
  NodeConfig config;
  RETURN_IF_ERROR(ReadCapacity(root, config));
  RETURN_IF_ERROR(ReadBool(root, "hostNetwork", "hostNetwork", config.host_network));
  RETURN_IF_ERROR(ReadRoots(root, config));
  RETURN_IF_ERROR(ReadIds(root, config));
  if (const Value* logs = root.Find("logs"); logs != nullptr) {
    RETURN_IF_ERROR(CheckMembers(*logs, "logs", {"containerBytes", "nodeBytes"}));
    constexpr int64_t kMost = int64_t{1} << 40;
    RETURN_IF_ERROR(ReadNumber(*logs, "logs", "containerBytes", 4096, kMost, config.container_log_bytes));
    RETURN_IF_ERROR(ReadNumber(*logs, "logs", "nodeBytes", 4096, kMost, config.node_log_bytes));
  }
  RETURN_IF_ERROR(ReadLabels(root, config));
  return config;
}

StatusOr<NodeConfig> ReadNodeConfig(const std::string& path) {
  const auto text = ReadFile(path, size_t{1} << 20);
  if (text.status().code() == Code::kNotFound) return NodeConfig{};
  RETURN_IF_ERROR(text);
  auto config = ParseNodeConfig(*text);
  if (!config.ok()) return Annotate(config.status(), path);
  return config;
}

Resources LimitCapacity(const Resources& found, const NodeConfig& config) {
  return {std::min(found.cpu_millis, config.cpu_millis.value_or(found.cpu_millis)),
          std::min(found.memory_bytes, config.memory_bytes.value_or(found.memory_bytes)),
          std::min(found.tasks, config.tasks.value_or(found.tasks))};
}

}  // namespace isla::agent
