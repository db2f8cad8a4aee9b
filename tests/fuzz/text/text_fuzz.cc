// Any text as a quantity, duration, time, name or selector: a value within its bounds that reads back from what
// it is printed as, or INVALID_ARGUMENT.
#include <cstdint>

#include "api/base/clock.h"
#include "api/object/names.h"
#include "api/object/quantity.h"
#include "api/object/selector.h"

namespace isla::api {
namespace {

void CheckCode(const Status& status) { ISLA_CHECK(status.ok() || status.code() == Code::kInvalidArgument); }

void CheckText(std::string_view text) {
  const StatusOr<int64_t> millis = ParseCpuMillis(text), bytes = ParseBytes(text);
  CheckCode(millis.status());
  CheckCode(bytes.status());
  if (millis.ok()) ISLA_CHECK(*millis >= 0 && ParseCpuMillis(FormatCpuMillis(*millis)).value() == *millis);
  if (bytes.ok()) ISLA_CHECK(*bytes >= 0 && ParseBytes(FormatBytes(*bytes)).value() == *bytes);
  const StatusOr<std::chrono::nanoseconds> duration = ParseDuration(text);
  CheckCode(duration.status());
  if (duration.ok()) {
    ISLA_CHECK(duration->count() >= 0 && ParseDuration(FormatDuration(*duration)).value() == *duration);
    ISLA_CHECK(!FormatAge(*duration).empty());
  }
  const StatusOr<WallTime> time = ParseRfc3339(text);
  CheckCode(time.status());
  if (time.ok()) ISLA_CHECK(ParseRfc3339(FormatRfc3339(*time, 9)).value() == *time);
  CheckCode(FieldSelector::Parse(text).status());
  const StatusOr<LabelSelector> selector = LabelSelector::Parse(text);
  CheckCode(selector.status());
  const std::map<std::string, std::string> labels = {{"a", "1"}, {"b", ""}};
  if (selector.ok()) (void)selector->Matches(labels);
  if (CheckDnsLabel(text).empty()) ISLA_CHECK(CheckDnsSubdomain(text).empty() && CheckLabelKey(text).empty());
  if (CheckAbsolutePath(text).empty()) ISLA_CHECK(text.find("/../") == std::string_view::npos);
}

}  // namespace
}  // namespace isla::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::api::CheckText({reinterpret_cast<const char*>(data), size});
  return 0;
}
