#include "api/server/openapi_v2.h"

#include <cstdint>
#include <string_view>

#include "api/base/json.h"
#include "api/object/kind.h"

namespace isla::server {

namespace {

/// A protobuf message in the making: fields of the wire types that are needed.
class Message {
 public:
  Message& Text(uint32_t field, std::string_view text) {
    Varint(field << 3 | 2);
    Varint(text.size());
    bytes_ += text;
    return *this;
  }
  Message& Sub(uint32_t field, const Message& message) { return Text(field, message.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

/// NamedAny {name, Any {yaml}}: an extension such as x-kubernetes-action.
Message Extension(std::string_view name, const json::Value& value) {
  return Message().Text(1, name).Sub(2, Message().Text(2, json::Serialize(value)));
}

/// ParametersItem {Parameter {NonBodyParameter {QueryParameterSubSchema {in, name, type}}}}.
Message QueryParameter(std::string_view name) {
  const Message query = Message().Text(2, "query").Text(4, name).Text(6, "string");
  return Message().Sub(1, Message().Sub(2, Message().Sub(3, query)));
}

Message Patch(const api::Kind& kind) {
  const json::Value gvk = json::Value::MakeObject(
      {{"group", api::kGroup}, {"kind", kind.kind}, {"version", api::kVersion}});
  Message operation;
  operation.Text(5, "patch" + kind.kind);
  operation.Text(7, "application/merge-patch+json");
  operation.Sub(8, QueryParameter("dryRun"));
  operation.Sub(8, QueryParameter("fieldManager"));
  operation.Sub(8, QueryParameter("fieldValidation"));
  operation.Sub(13, Extension("x-kubernetes-action", "patch"));
  operation.Sub(13, Extension("x-kubernetes-group-version-kind", gvk));
  return operation;
}

}  // namespace

std::string OpenApiV2() {
  Message paths;
  for (const api::Kind& kind : api::AllKinds()) {
    // Also for kinds that can't be patched: their dry runs are refused by the server, with a better text.
    const std::string path = "/apis/isla/v1/" + std::string(kind.namespaced ? "namespaces/{namespace}/" : "") +
                             kind.resource + "/{name}";
    paths.Sub(2, Message().Text(1, path).Sub(2, Message().Sub(8, Patch(kind))));
  }
  return Message()
      .Text(1, "2.0")
      .Sub(2, Message().Text(1, "isla").Text(2, "v1"))
      .Sub(8, paths)
      .Sub(9, Message())
      .bytes();
}

}  // namespace isla::server
