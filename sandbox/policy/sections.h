// What a policy says besides rules of calls: what the runtime builds before the container runs (files, exec,
// view), what the kernel's other mechanisms enforce (net), and how the supervisor behaves (limits, audit, program).
//
// Plain data, carried as JSON beside filter and table (compiled_policy.h). Each member names its enforcer; a
// section that a policy doesn't have leaves things as they are.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/program_room.h"
#include "api/base/status.h"
#include "sandbox/policy/call.h"

namespace isla::sandbox {

// Files: by Landlock and mounts ------------------------------------------------------------------------

/// As bits, for Landlock's access rights.
enum Access : uint8_t {
  kRead = 1,      // read files, list folders
  kWrite = 2,     // write and truncate existing files
  kCreate = 4,    // make, link and rename files, folders, links, sockets, fifos
  kDelete = 8,    // remove files and folders
  kExecute = 16,
};

struct PathAccess {
  std::string path;  // absolute; itself and all below it
  uint8_t access = 0;
  friend bool operator==(const PathAccess&, const PathAccess&) = default;
};

struct FilesSection {
  std::vector<PathAccess> allow;       // Landlock; if not empty, nothing else can be reached
  std::vector<std::string> mask;       // mounts: an empty file or folder in its place
  std::vector<std::string> read_only;  // mounts
  friend bool operator==(const FilesSection&, const FilesSection&) = default;
};

// Exec: by Landlock ------------------------------------------------------------------------------------

struct ExecSection {
  std::vector<std::string> allow;  // paths (and all below) that may be executed; if not empty, nothing else may
  friend bool operator==(const ExecSection&, const ExecSection&) = default;
};

// Net: by BPF programs of the container's cgroup -------------------------------------------------------

struct NetRule {
  enum class Kind : uint8_t { kAllow, kDeny, kRedirect };
  std::string name;
  bool connect = true, bind = true, send = true;  // which operations (send: datagrams with an address)
  IpNetwork network;                              // ::/0 is every address
  uint16_t first_port = 0, last_port = 65535;
  Kind action = Kind::kAllow;
  std::string redirect;  // kRedirect: "127.0.0.1:8080"
  friend bool operator==(const NetRule&, const NetRule&) = default;
};

enum class NetOperation : uint8_t { kConnect, kBind, kSend };

struct NetSection {
  bool default_allow = true;
  std::vector<NetRule> rules;  // the first that matches decides

  /// The rule that decides, or null: then default_allow does. Addresses that aren't internet ones have no rule.
  const NetRule* Decide(NetOperation operation, const SocketAddress& address) const;
  friend bool operator==(const NetSection&, const NetSection&) = default;
};

// View: by the runtime (files, bound before the root is entered) and the supervisor (rules named "view...") -----

struct ViewFile {
  std::string path;
  std::string content;
  friend bool operator==(const ViewFile&, const ViewFile&) = default;
};

struct ViewSection {
  bool granted_cpus = false;    // processors as granted: affinity, /proc/cpuinfo, /proc/stat, /sys/devices/system/cpu
  bool granted_memory = false;  // memory as granted: sysinfo, /proc/meminfo
  std::string hostname;
  std::vector<ViewFile> files;
  friend bool operator==(const ViewSection&, const ViewSection&) = default;
};

// Limits: by the supervisor, but of resources by the kernel. Audit: by the supervisor ------------------------------------------------------------------

struct LimitsSection {
  uint32_t calls_per_second = 20'000;  // notified calls of the container; beyond: EAGAIN
  std::chrono::milliseconds deadline{5'000};  // for one call; beyond: the call is denied
  friend bool operator==(const LimitsSection&, const LimitsSection&) = default;
};

/// Of all processes together, by the kernel: a control group's. 0: as much as there is, or as is granted.
struct ResourceLimits {
  uint64_t memory_bytes = 0;  // and no swap beyond it
  uint64_t cpu_millis = 0;    // thousandths of a processor
  uint64_t tasks = 0;         // processes and threads
  bool any() const { return memory_bytes != 0 || cpu_millis != 0 || tasks != 0; }
  friend bool operator==(const ResourceLimits&, const ResourceLimits&) = default;
};
/// What both leave.
ResourceLimits Smaller(const ResourceLimits& a, const ResourceLimits& b);

struct AuditSection {
  uint32_t one_of_allowed = 0;  // of calls that go on or are performed, every n-th is written down; 0: none
  uint32_t lines_per_second = 1'000;  // beyond: counted, not written
  friend bool operator==(const AuditSection&, const AuditSection&) = default;
};

// Program: by the supervisor, which has it from the rule table (sandbox/program) ------------------------------------------------------------

struct ProgramSection {
  std::string source;  // Lua 5.4 text
  uint32_t memory_bytes = kDefaultProgramBytes;
  std::chrono::microseconds time{10'000};  // for one call
  uint16_t on_error = 1;                   // errno
  friend bool operator==(const ProgramSection&, const ProgramSection&) = default;
};
inline constexpr size_t kMaxProgramBytes = 64 * 1024;

struct Sections {
  std::optional<FilesSection> files;
  std::optional<ExecSection> exec;
  std::optional<NetSection> net;
  std::optional<ViewSection> view;
  LimitsSection limits;
  ResourceLimits resources;  // of `limits`, too: memory, cpus, pids
  AuditSection audit;
  std::optional<ProgramSection> program;
  friend bool operator==(const Sections&, const Sections&) = default;
};

/// The normal form that compiled policies carry: not what people write (that is sandbox/manifest).
json::Value ToJson(const Sections& sections);
/// INVALID_ARGUMENT if it isn't what ToJson() makes.
StatusOr<Sections> SectionsFromJson(const json::Value& value);

}  // namespace isla::sandbox
