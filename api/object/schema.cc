// The door: a manifest against the descriptors of its kind. What isn't known is refused with a suggestion,
// what has the wrong type with the type expected, each with its place in the text.
#include <google/protobuf/descriptor.h>

#include <array>

#include "api/object/field.h"
#include "api/object/object.h"

namespace isla::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

/// Members of Kubernetes' ObjectMeta that its tools send and isla has no use for: anything in them passes.
constexpr std::array<std::string_view, 4> kForeignMetadata = {"managedFields", "ownerReferences", "selfLink",
                                                              "clusterName"};

const FieldDescriptor* FindField(const Descriptor& descriptor, std::string_view name) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    if (descriptor.field(i)->json_name() == name) return descriptor.field(i);
  }
  return nullptr;
}

std::vector<std::string> FieldNames(const Descriptor& descriptor) {
  std::vector<std::string> out;
  for (int i = 0; i < descriptor.field_count(); ++i) out.push_back(descriptor.field(i)->json_name());
  return out;
}

class Checker {
 public:
  void CheckObject(const Field& field, const Descriptor& descriptor) {
    if (!field.value().is_object()) return Add(TypeInvalid(field.path(), field.value(), "an object"));
    for (const json::Member& member : field.value().members()) {
      if (IsFull(errors_)) return;
      const FieldDescriptor* known = FindField(descriptor, member.name);
      if (known == nullptr) {
        if (!IsForeign(descriptor, member.name)) AddUnknown(field, member, descriptor);
      } else if (!member.value.is_null()) {
        CheckMember(field.Get(member.name), *known);
      }
    }
  }

  FieldErrors Take() { return std::move(errors_); }
  void Add(FieldError error) { errors_.push_back(std::move(error)); }

 private:
  static bool IsForeign(const Descriptor& descriptor, std::string_view name) {
    if (&descriptor != isla::v1::ObjectMeta::descriptor()) return false;
    return std::find(kForeignMetadata.begin(), kForeignMetadata.end(), name) != kForeignMetadata.end();
  }

  void AddUnknown(const Field& parent, const json::Member& member, const Descriptor& descriptor) {
    constexpr size_t kMostShown = 80;
    const std::string name = member.name.size() > kMostShown ? member.name.substr(0, kMostShown) + "..." : member.name;
    const std::string path = parent.path().empty() ? name : parent.path() + "." + name;
    Add(Unknown(path, member.position, member.name, FieldNames(descriptor)));
  }

  void CheckMember(const Field& field, const FieldDescriptor& known) {
    // The server's own: a client sends back what it read, perhaps from a newer islad. It is dropped.
    if (field.path() == "status") {
      if (!field.is_object()) Add(TypeInvalid(field.path(), field.value(), "an object"));
      return;
    }
    if (known.is_map()) return CheckMap(field, *known.message_type()->map_value());
    if (!known.is_repeated()) return CheckValue(field, known);
    if (!field.is_array()) return Add(TypeInvalid(field.path(), field.value(), "an array"));
    for (size_t i = 0; i < field.size() && !IsFull(errors_); ++i) CheckValue(field.Item(i), known);
  }

  void CheckMap(const Field& field, const FieldDescriptor& known) {
    if (!field.is_object()) return Add(TypeInvalid(field.path(), field.value(), "an object"));
    for (const json::Member& member : field.value().members()) {
      if (IsFull(errors_)) return;
      CheckValue(field.Entry(member), known);
    }
  }

  void CheckValue(const Field& field, const FieldDescriptor& known) {
    const json::Value& value = field.value();
    switch (known.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (!value.is_string()) return Add(TypeInvalid(field.path(), value, ExpectedString(value)));
        if (value.as_string().find('\0') != std::string::npos) Add(field.Bad("must not contain a NUL byte"));
        return;
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!value.is_bool()) Add(TypeInvalid(field.path(), value, "true or false"));
        return;
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT64:
        if (!value.ToInt64()) Add(TypeInvalid(field.path(), value, "an integer"));
        return;
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        if (!value.ToDouble()) Add(TypeInvalid(field.path(), value, "a number"));
        return;
      case FieldDescriptor::CPPTYPE_ENUM:
        if (!value.is_string()) Add(TypeInvalid(field.path(), value, "a string"));
        return;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        // Whose members no descriptor knows (api/registry/policy_check.h does).
        if (known.message_type() == isla::v1::SandboxPolicySpec::descriptor()) {
          if (!value.is_object()) Add(TypeInvalid(field.path(), value, "an object"));
          return;
        }
        return CheckObject(field, *known.message_type());
    }
  }

  static std::string ExpectedString(const json::Value& value) {
    if (value.is_number() && value.number_text().size() < 32) {
      return fmt::format("a string: write \"{}\"", value.number_text());
    }
    if (value.is_bool()) return fmt::format("a string: write \"{}\"", value.as_bool());
    return "a string";
  }

  FieldErrors errors_;
};

void CheckTypeMeta(const Field& field, std::string_view expected, Checker& checker) {
  if (!field.present()) return checker.Add(field.Missing(fmt::format("expected \"{}\"", expected)));
  if (field.is_string() && field.text() != expected) checker.Add(field.Bad(fmt::format("expected \"{}\"", expected)));
}

}  // namespace

FieldErrors CheckSchema(const Kind& kind, const json::Value& object) {
  Checker checker;
  const Field root(object);
  checker.CheckObject(root, *kind.descriptor);
  if (object.is_object()) {
    CheckTypeMeta(root.Get("apiVersion"), kApiVersion, checker);
    CheckTypeMeta(root.Get("kind"), kind.kind, checker);
  }
  return checker.Take();
}

}  // namespace isla::api
