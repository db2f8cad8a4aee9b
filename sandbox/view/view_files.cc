#include "sandbox/view/view_files.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "api/base/unique_fd.h"

namespace isla::view {
namespace {

constexpr size_t kMaxFileBytes = 8 << 20;

bool Has(const std::vector<unsigned>& cpus, std::string_view number) {
  unsigned id = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), id);
  return error == std::errc() && end == number.data() + number.size() && std::find(cpus.begin(), cpus.end(), id) != cpus.end();
}

/// Calls visit(line without its end) for each line.
template <typename Visit>
void EachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    visit(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

unsigned WholeCpus(int64_t cpu_millis) { return static_cast<unsigned>(std::max<int64_t>(1, (cpu_millis + 999) / 1000)); }

std::vector<unsigned> FirstCpus(unsigned count) {
  std::vector<unsigned> out;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return out;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE && out.size() < count; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) out.push_back(cpu);
  }
  return out;
}

std::string CpuList(const std::vector<unsigned>& cpus) {
  std::string out;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!out.empty()) out += ',';
    out += last == i ? std::to_string(cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return out + "\n";
}

std::string CpuInfo(std::string_view real, const std::vector<unsigned>& cpus) {
  std::string out;
  bool shown = true;  // what comes before the first block, and after the last on some architectures
  EachLine(real, [&out, &shown, &cpus](std::string_view line) {
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && Trimmed(line.substr(0, colon)) == "processor") {
      shown = Has(cpus, Trimmed(line.substr(colon + 1)));
    }
    if (shown) out.append(line).append("\n");
  });
  return out;
}

std::string Stat(std::string_view real, const std::vector<unsigned>& cpus) {
  std::string per_cpu, rest;
  std::array<uint64_t, 10> sum{};
  EachLine(real, [&](std::string_view line) {
    if (!line.starts_with("cpu")) {
      rest.append(line).append("\n");
      return;
    }
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || !Has(cpus, line.substr(3, space - 3))) return;
    per_cpu.append(line).append("\n");
    std::istringstream numbers{std::string(line.substr(space))};
    for (uint64_t& total : sum) {
      uint64_t value = 0;
      if (numbers >> value) total += value;
    }
  });
  std::string out = "cpu ";
  for (const uint64_t total : sum) out += fmt::format(" {}", total);
  return out + "\n" + per_cpu + rest;
}

std::string MemInfo(std::string_view real, uint64_t memory_bytes, uint64_t used_bytes) {
  const uint64_t total = memory_bytes / 1024, used = std::min(total, used_bytes / 1024), left = total - used;
  std::string out;
  EachLine(real, [&out, total, used, left](std::string_view line) {
    const size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    // Of address spaces and pages, not of memory.
    if (colon == std::string_view::npos || !line.ends_with(" kB") || name.starts_with("Vmalloc") || name.starts_with("DirectMap") || name == "Hugepagesize") {
      out.append(line).append("\n");
      return;
    }
    const std::string_view number = Trimmed(line.substr(colon + 1, line.size() - colon - 4));
    uint64_t value = 0;
    std::from_chars(number.data(), number.data() + number.size(), value);
    // What is used for something is a part of what is used: programs subtract the one from the other.
    value = std::min(value, name == "CommitLimit" || name == "Committed_AS" ? total : used);
    if (name == "MemTotal") value = total;
    if (name == "MemFree" || name == "MemAvailable") value = left;
    if (name.starts_with("Swap") || name == "Buffers" || name == "Cached") value = 0;
    out += fmt::format("{:<16}{:>8} kB\n", std::string(name) + ":", value);
  });
  return out;
}

StatusOr<std::vector<ViewFile>> GrantedFiles(const GrantedView& granted) {
  std::vector<ViewFile> out;
  const auto add = [&out](const std::string& path, auto make) -> Status {
    const StatusOr<std::string> real = ReadFile(path, kMaxFileBytes);
    if (real.status().code() == Code::kNotFound) return OkStatus();
    if (!real.ok()) return Annotate(real.status(), path);
    out.push_back({path, make(*real)});
    return OkStatus();
  };
  if (!granted.cpus.empty()) {
    const std::vector<unsigned>& cpus = granted.cpus;
    for (const char* name : {"online", "possible", "present"}) {
      RETURN_IF_ERROR(add(fmt::format("/sys/devices/system/cpu/{}", name), [&cpus](const std::string&) { return CpuList(cpus); }));
    }
    RETURN_IF_ERROR(add("/proc/cpuinfo", [&cpus](const std::string& real) { return CpuInfo(real, cpus); }));
    RETURN_IF_ERROR(add("/proc/stat", [&cpus](const std::string& real) { return Stat(real, cpus); }));
  }
  if (granted.memory_bytes != 0) {
    RETURN_IF_ERROR(add("/proc/meminfo", [&granted](const std::string& real) { return MemInfo(real, granted.memory_bytes, granted.used_bytes); }));
  }
  return out;
}

}  // namespace isla::view
