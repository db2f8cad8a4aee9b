// Between the JSON tree and protobuf messages, by reflection over the descriptors. Not protobuf's own JSON:
// that writes 64-bit numbers as strings, and would not say which field is wrong.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>

#include "api/object/check_types.h"
#include "api/object/object.h"

namespace isla::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

/// Where a value is, as a chain on the stack: its text is made only if something is wrong there.
struct Path {
  const Path* above = nullptr;
  std::string_view name;  // of the member, or of the entry of a map
  bool entry = false;
  std::optional<size_t> item = std::nullopt;

  std::string Text() const {
    if (above == nullptr) return {};
    const std::string before = above->Text();
    if (item) return fmt::format("{}[{}]", before, *item);
    if (entry) return fmt::format("{}[{}]", before, name);
    return before.empty() ? std::string(name) : fmt::format("{}.{}", before, name);
  }
};

Status WrongType(const Path& path, const json::Value& value, std::string_view expected) {
  const std::string where = path.Text();
  return Errorf(Code::kInvalidArgument, "{}: is {} (expected {})", where.empty() ? "value" : where, value.type_name(), expected);
}

/// Without a message (null) it only checks.
Status ReadMessage(const json::Value& value, const Path& path, const Descriptor& descriptor, Message* message);

/// Integers that a field of type T holds, from a JSON number of that exact value.
template <typename T>
StatusOr<T> ReadInteger(const json::Value& value, const Path& path) {
  const std::optional<int64_t> number = value.ToInt64();
  const bool fits = number && (std::is_same_v<T, uint64_t>
                                   ? *number >= 0
                                   : *number >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
                                         *number <= static_cast<int64_t>(std::numeric_limits<T>::max()));
  if (!fits) {
    if (!value.is_number()) return WrongType(path, value, "an integer");
    return Errorf(Code::kInvalidArgument, "{}: {} is not an integer that fits here", path.Text(), value.number_text());
  }
  return static_cast<T>(*number);
}

/// Sets one value (or adds one to a repeated field); without a message it only checks.
class FieldWriter {
 public:
  FieldWriter(Message* message, const FieldDescriptor& field, const Path& path) : message_(message), field_(field), path_(path) {}

  Status Write(const json::Value& value) {
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (!value.is_string()) return WrongType(path_, value, "a string");
        Put(value.as_string(), &Reflection::SetString, &Reflection::AddString);
        return OkStatus();
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!value.is_bool()) return WrongType(path_, value, "true or false");
        Put(value.as_bool(), &Reflection::SetBool, &Reflection::AddBool);
        return OkStatus();
      case FieldDescriptor::CPPTYPE_INT32:
        return WriteInteger<int32_t>(value, &Reflection::SetInt32, &Reflection::AddInt32);
      case FieldDescriptor::CPPTYPE_UINT32:
        return WriteInteger<uint32_t>(value, &Reflection::SetUInt32, &Reflection::AddUInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return WriteInteger<int64_t>(value, &Reflection::SetInt64, &Reflection::AddInt64);
      case FieldDescriptor::CPPTYPE_UINT64:
        return WriteInteger<uint64_t>(value, &Reflection::SetUInt64, &Reflection::AddUInt64);
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT: {
        const std::optional<double> number = value.ToDouble();
        if (!number) return WrongType(path_, value, "a number");
        if (field_.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
          Put(*number, &Reflection::SetDouble, &Reflection::AddDouble);
        } else {
          Put(static_cast<float>(*number), &Reflection::SetFloat, &Reflection::AddFloat);
        }
        return OkStatus();
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        const EnumValueDescriptor* found =
            value.is_string() ? field_.enum_type()->FindValueByName(value.as_string()) : nullptr;
        if (found == nullptr) return WrongType(path_, value, "the name of one of its values");
        Put(found, &Reflection::SetEnum, &Reflection::AddEnum);
        return OkStatus();
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return ReadMessage(value, path_, *field_.message_type(), Inner());
    }
    return OkStatus();
  }

 private:
  Message* Inner() const {
    if (message_ == nullptr) return nullptr;
    const Reflection& reflection = *message_->GetReflection();
    return field_.is_repeated() ? reflection.AddMessage(message_, &field_) : reflection.MutableMessage(message_, &field_);
  }
  template <typename T, typename Set, typename Add>
  void Put(const T& value, Set set, Add add) {
    if (message_ == nullptr) return;
    const Reflection& reflection = *message_->GetReflection();
    if (field_.is_repeated()) (reflection.*add)(message_, &field_, value);
    else (reflection.*set)(message_, &field_, value);
  }
  template <typename T, typename Set, typename Add>
  Status WriteInteger(const json::Value& value, Set set, Add add) {
    ASSIGN_OR_RETURN(const T number, ReadInteger<T>(value, path_));
    Put(number, set, add);
    return OkStatus();
  }

  Message* const message_;
  const FieldDescriptor& field_;
  const Path& path_;
};

Status ReadMap(const json::Value& value, const Path& path, const FieldDescriptor& field, Message* message) {
  if (!value.is_object()) return WrongType(path, value, "an object");
  const FieldDescriptor& name = *field.message_type()->map_key();
  for (const json::Member& member : value.members()) {
    Message* const entry = message == nullptr ? nullptr : message->GetReflection()->AddMessage(message, &field);
    const Path inner{&path, member.name, true};
    // Names of members are texts: there is nothing to check without a message.
    if (message != nullptr) RETURN_IF_ERROR(FieldWriter(entry, name, inner).Write(member.name));
    RETURN_IF_ERROR(FieldWriter(entry, *field.message_type()->map_value(), inner).Write(member.value));
  }
  return OkStatus();
}

const FieldDescriptor* FieldOf(const Descriptor& descriptor, const std::string& json_name) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    if (descriptor.field(i)->json_name() == json_name) return descriptor.field(i);
  }
  return nullptr;
}

Status ReadMessage(const json::Value& value, const Path& path, const Descriptor& descriptor, Message* message) {
  if (!value.is_object()) return WrongType(path, value, "an object");
  for (const json::Member& member : value.members()) {
    const FieldDescriptor* const field = FieldOf(descriptor, member.name);
    if (field == nullptr || member.value.is_null()) continue;
    const Path inner{&path, member.name};
    if (field->is_map()) {
      RETURN_IF_ERROR(ReadMap(member.value, inner, *field, message));
    } else if (field->is_repeated()) {
      if (!member.value.is_array()) return WrongType(inner, member.value, "an array");
      for (size_t i = 0; i < member.value.items().size(); ++i) {
        const Path item{&inner, {}, false, i};
        RETURN_IF_ERROR(FieldWriter(message, *field, item).Write(member.value.items()[i]));
      }
    } else {
      RETURN_IF_ERROR(FieldWriter(message, *field, inner).Write(member.value));
    }
  }
  return OkStatus();
}

json::Value DoubleValue(double number) {
  const std::string text = fmt::format("{}", number);
  return text.find_first_not_of("0123456789+-.eE") == std::string::npos ? json::Value::Number(text) : json::Value();
}

/// The value of a field, or of one of its items if index >= 0.
json::Value ReadField(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (reflection.*single)(message, &field) : (reflection.*repeated)(message, &field, index);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: return get(&Reflection::GetString, &Reflection::GetRepeatedString);
    case FieldDescriptor::CPPTYPE_BOOL: return get(&Reflection::GetBool, &Reflection::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_INT32: return get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32);
    case FieldDescriptor::CPPTYPE_UINT32:
      return int64_t{get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32)};
    case FieldDescriptor::CPPTYPE_INT64: return get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_UINT64: return get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return DoubleValue(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return DoubleValue(double{get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat)});
    case FieldDescriptor::CPPTYPE_ENUM: return get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum)->name();
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return FromMessage(index < 0 ? reflection.GetMessage(message, &field)
                                   : reflection.GetRepeatedMessage(message, &field, index));
  }
  return {};
}

/// Sorted by key: the order within a protobuf map is any.
json::Value ReadMapField(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  json::Object members;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const json::Value key = ReadField(entry, *field.message_type()->map_key(), -1);
    members.push_back({key.is_string() ? key.as_string() : json::Serialize(key),
                       ReadField(entry, *field.message_type()->map_value(), -1),
                       {}});
  }
  std::sort(members.begin(), members.end(),
            [](const json::Member& a, const json::Member& b) { return a.name < b.name; });
  return members;
}

template <typename T>
StatusOr<T> View(const json::Value& value) {
  T message;
  RETURN_IF_ERROR(ToMessage(value, message));
  return message;
}

}  // namespace

json::Value FromMessage(const Message& message) {
  std::vector<const FieldDescriptor*> fields;  // those that are set, by number
  message.GetReflection()->ListFields(message, &fields);
  json::Object members;
  members.reserve(fields.size());
  for (const FieldDescriptor* field : fields) {
    json::Value value;
    if (field->is_map()) {
      value = ReadMapField(message, *field);
    } else if (field->is_repeated()) {
      json::Array items;
      const int size = message.GetReflection()->FieldSize(message, field);
      for (int i = 0; i < size; ++i) items.push_back(ReadField(message, *field, i));
      value = std::move(items);
    } else {
      value = ReadField(message, *field, -1);
    }
    members.push_back({field->json_name(), std::move(value), {}});
  }
  return members;
}

Status ToMessage(const json::Value& value, Message& message) {
  message.Clear();
  return ReadMessage(value, Path(), *message.GetDescriptor(), &message);
}

Status CheckTypes(const Kind& kind, const json::Value& object) {
  return ReadMessage(object, Path(), *kind.descriptor, nullptr);
}

StatusOr<isla::v1::Project> ToProject(const json::Value& object) { return View<isla::v1::Project>(object); }
StatusOr<isla::v1::Node> ToNode(const json::Value& object) { return View<isla::v1::Node>(object); }
StatusOr<isla::v1::SessionStatus> ToSessionStatus(const json::Value& status) {
  return View<isla::v1::SessionStatus>(status);
}

}  // namespace isla::api
