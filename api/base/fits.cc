#include "api/base/fits.h"

#include <fmt/format.h>

#include <limits>

namespace isla {
namespace {

int64_t AddOne(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::numeric_limits<int64_t>::max();
  return sum;
}

int64_t Free(int64_t capacity, int64_t used) { return used >= capacity ? 0 : capacity - used; }

}  // namespace

Resources Add(const Resources& a, const Resources& b) {
  return {AddOne(a.cpu_millis, b.cpu_millis), AddOne(a.memory_bytes, b.memory_bytes), AddOne(a.tasks, b.tasks)};
}

Fit Fits(const Resources& request, const Resources& capacity, const Resources& used) {
  if (request.cpu_millis > Free(capacity.cpu_millis, used.cpu_millis)) return Fit::kOutOfCpu;
  if (request.memory_bytes > Free(capacity.memory_bytes, used.memory_bytes)) return Fit::kOutOfMemory;
  if (request.tasks > Free(capacity.tasks, used.tasks)) return Fit::kOutOfTasks;
  return Fit::kFits;
}

std::string_view FitReason(Fit fit) {
  switch (fit) {
    case Fit::kFits: return "";
    case Fit::kOutOfCpu: return "OutOfCpu";
    case Fit::kOutOfMemory: return "OutOfMemory";
    case Fit::kOutOfTasks: return "OutOfTasks";
  }
  return "";
}

std::string FitMessage(Fit fit, const Resources& request, const Resources& capacity, const Resources& used) {
  switch (fit) {
    case Fit::kFits: return "";
    case Fit::kOutOfCpu:
      return fmt::format("cpu: asks for {}m, {}m of {}m are free", request.cpu_millis,
                         Free(capacity.cpu_millis, used.cpu_millis), capacity.cpu_millis);
    case Fit::kOutOfMemory:
      return fmt::format("memory: asks for {} bytes, {} of {} are free", request.memory_bytes,
                         Free(capacity.memory_bytes, used.memory_bytes), capacity.memory_bytes);
    case Fit::kOutOfTasks:
      return fmt::format("tasks: asks for {}, {} of {} are free", request.tasks, Free(capacity.tasks, used.tasks),
                         capacity.tasks);
  }
  return "";
}

}  // namespace isla
