#include "api/server/representation.h"

#include <string_view>

#include "api/base/json.h"
#include "api/object/table.h"

namespace isla::server {

namespace {

using json::Value;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Takes the part before `separator` off `text`.
std::string_view Cut(std::string_view& text, char separator) {
  const size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return Trim(part);
}

/// One media range of Accept: true if it is served, with what it asks for.
bool Serves(std::string_view range, Representation& how) {
  const std::string_view type = Cut(range, ';');
  if (type != "application/json" && type != "application/*" && type != "*/*") return false;
  std::string as, version, group;
  while (!range.empty()) {
    std::string_view parameter = Cut(range, ';');
    const std::string_view name = Cut(parameter, '=');
    if (name == "as") as = Trim(parameter);
    if (name == "v") version = Trim(parameter);
    if (name == "g") group = Trim(parameter);
  }
  if (as.empty()) return true;
  if (as != "Table" || group != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) return false;
  how.table = true;
  how.table_version = version;
  return true;
}

std::string Quoted(const std::string& text) { return json::Serialize(Value(text)); }

std::string Columns(const api::Kind& kind) {
  Value columns = Value::MakeArray();
  for (const api::Column& column : api::ColumnsOf(kind)) {
    columns.Append(Value::MakeObject({{"name", column.name},
                                      {"type", column.type},
                                      {"format", column.format},
                                      {"description", column.description},
                                      {"priority", column.priority}}));
  }
  return json::Serialize(columns);
}

std::string Row(const Representation& how, const api::Kind& kind, const registry::Object& object, WallTime now) {
  std::string row = "{\"cells\":" + json::Serialize(Value(api::CellsOf(kind, object, now)));
  if (how.include == Representation::Include::kObject) {
    row += ",\"object\":" + object.Encoded();
  } else if (how.include == Representation::Include::kMetadata) {
    const Value* metadata = object.Find("metadata");
    row += R"(,"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/)" + how.table_version +
           "\",\"metadata\":" + (metadata == nullptr ? "{}" : json::Serialize(*metadata)) + "}";
  }
  return row + "}";
}

std::string Table(const Representation& how, const std::string& revision, const std::string& columns,
                  const std::string& rows) {
  return R"({"kind":"Table","apiVersion":"meta.k8s.io/)" + how.table_version +
         R"(","metadata":{"resourceVersion":)" + Quoted(revision) + "},\"columnDefinitions\":" + columns +
         ",\"rows\":[" + rows + "]}";
}

std::string Shown(const Representation& how, const api::Kind& kind, const registry::Object& object, bool columns,
                  WallTime now) {
  if (!how.table) return object.Encoded();
  return Table(how, object.StringAt({"metadata", "resourceVersion"}), columns ? Columns(kind) : "null",
               Row(how, kind, object, now));
}

std::string_view TypeName(registry::ObjectEvent::Type type) {
  switch (type) {
    case registry::ObjectEvent::Type::kAdded: return "ADDED";
    case registry::ObjectEvent::Type::kModified: return "MODIFIED";
    case registry::ObjectEvent::Type::kDeleted: return "DELETED";
    case registry::ObjectEvent::Type::kBookmark: return "BOOKMARK";
  }
  return "ERROR";
}

}  // namespace

StatusOr<std::optional<Representation>> Negotiate(const Request& request) {
  Representation how;
  const std::string include = request.Param("includeObject").value_or("Metadata");
  if (include == "None") {
    how.include = Representation::Include::kNone;
  } else if (include == "Object") {
    how.include = Representation::Include::kObject;
  } else if (include != "Metadata" && !include.empty()) {
    return Errorf(Code::kInvalidArgument, "includeObject must be None, Metadata or Object, not '{}'", include);
  }
  const std::string accept = request.Header("accept");
  if (accept.empty()) return std::optional<Representation>(how);
  std::string_view rest = accept;
  while (!rest.empty()) {
    if (Serves(Cut(rest, ','), how)) return std::optional<Representation>(how);
  }
  return std::optional<Representation>();
}

std::string EncodeObject(const Representation& how, const api::Kind& kind, const registry::Object& object,
                         WallTime now) {
  return Shown(how, kind, object, true, now);
}

std::string EncodeList(const Representation& how, const api::Kind& kind, const registry::ObjectList& list,
                       WallTime now) {
  const std::string revision = std::to_string(list.revision);
  std::string items;
  for (const registry::ObjectPtr& object : list.items) {
    if (!items.empty()) items += ',';
    items += how.table ? Row(how, kind, *object, now) : object->Encoded();
  }
  if (how.table) return Table(how, revision, Columns(kind), items);
  return "{\"kind\":" + Quoted(kind.kind + "List") + ",\"apiVersion\":" + Quoted(std::string(api::kApiVersion)) +
         ",\"metadata\":{\"resourceVersion\":" + Quoted(revision) + "},\"items\":[" + items + "]}";
}

std::string EncodeEvent(const Representation& how, const api::Kind& kind, const registry::ObjectEvent& event,
                        bool first, WallTime now) {
  std::string object;
  if (event.type == registry::ObjectEvent::Type::kBookmark) {
    const std::string revision = std::to_string(event.revision);
    object = how.table ? Table(how, revision, first ? Columns(kind) : "null", "")
                       : "{\"kind\":" + Quoted(kind.kind) + ",\"apiVersion\":" +
                             Quoted(std::string(api::kApiVersion)) +
                             ",\"metadata\":{\"resourceVersion\":" + Quoted(revision) + "}}";
  } else {
    object = Shown(how, kind, *event.object, first, now);
  }
  return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", TypeName(event.type), object);
}

std::string EncodeErrorEvent(const json::Value& status) {
  return "{\"type\":\"ERROR\",\"object\":" + json::Serialize(status) + "}\n";
}

}  // namespace isla::server
