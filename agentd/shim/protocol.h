// The contract between isla-agentd and isla-shim: launch request, control socket, files. It only grows: an
// agentd of version N+1 meets shims of version N for weeks. Unknown members are ignored; kProtocolVersion is
// raised only for what an old peer would get wrong.
//
// How a container starts
//   1. agentd makes <run>/<uid>-<incarnation>/ (0700) and spawns isla-shim with
//        fd 3  the launch request: a sealed memfd, JSON (LaunchRequest below)
//        fd 4  what confines it: a sealed memfd, CompiledPolicy's bytes (sandbox/compiled_policy.h); or, as agentds of before policies
//              gave it, the seccomp filter alone, struct sock_filter[]. The first bytes tell which.
//        fd 5  one end of a socketpair(SOCK_SEQPACKET): the control socket until agentd goes away
//      and nothing else (0, 1 = /dev/null; 2 = agentd's stderr).
//   2. The shim reads the request, sets up, and sends {"event":"ready","version":1,"pid":N}.
//   3. agentd calls StartTransientUnit(scope, PIDs=[shim]) and, after JobRemoved "done", reads back the
//      invocation id, records Created, and sends {"command":"go","invocationId":"..."}. EOF before go: the
//      shim exits and leaves nothing. Meanwhile the shim's child, the later isla-init, builds the root and waits.
//   4. The shim makes the leaves shim/ and payload/ in its scope's cgroups, moves that child into payload/, which
//      then executes the payload, writes `running`, sends {"event":"running",...}.
//      A step that fails: an exit record of cause start-error, with the step and errno, and whether that step was the execution of
//      the command itself: agentd makes the session's reason of it (CommandNotFound, CommandNotExecutable; else StartError).
//      If its policy has calls for a supervisor, the child hands the shim its listener before it executes anything; supervisors
//      (supervision.h) are started once the first call waits, and again whenever one dies.
//   5. The payload ends: the shim writes `exit` by rename, before anything else; sends {"event":"exited"}; then
//      kills what is left in payload/, unmounts, and exits.
//
// The control socket after a restart of agentd: the shim also listens on <run>/<uid>-<incarnation>/shim.sock
// (SOCK_SEQPACKET, 0600); each accepted connection speaks the same packets, beginning with the shim's
// {"event":"state", ...}. At most 4 connections.
//
// Packets are one JSON object each, at most 64 KiB.
//   agentd -> shim:  {"command":"go","invocationId":S}
//                    {"command":"stop","gracePeriodMsec":N,"cause":"stopped"|"timeout"}   idempotent; a shorter grace wins
//                    {"command":"state"}
//                    {"command":"policy"} with a compiled policy's memfd as SCM_RIGHTS: another version for the running container, if it
//                        differs only in what the supervisor decides; else it is refused, and the one in force stays. It must have the same filter;
//                        or "comparedWith":S, the name (sandbox::FilterId) of the running filter, against which the sender has found it to be so
//   shim -> agentd:  {"event":"ready","version":N,"pid":N}
//                    {"event":"state","version":N,"state":"waiting"|"running"|"exited","pid":N,"policy":S,"startedWith":S}   hashes: in force, of the start
//                    {"event":"policy","policy":S,"startedWith":S}   the answer: in force now, told to all connections;  with "refused":S,"error":S it isn't, and
//                        why; "takesRestart":true if that is what the version changes
//                    {"event":"refused","error":S}   instead of ready: it can't do with its request or policy, and exits
//                    {"event":"running","startedAtNs":N,"initPid":N}
//                    {"event":"exited"}      the record is in the file `exit`
//
// Files in <run>/<uid>-<incarnation>/ (tmpfs; each written by rename, JSON, one object):
//   created   {"scope":S,"invocationId":S,"atNs":N}         by agentd, before go
//   running   {"startedAtNs":N,"initPid":N,"shimPid":N,"shimStartTicks":N}   by the shim
//   exit      ExitRecord below                              by the shim
//   root/     mount point of the container's root, in the shim's own mount namespace only
//
// SIGTERM to the shim means: stop the payload (grace as in the request), write the record, exit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla::shim {

inline constexpr int kProtocolVersion = 1;
inline constexpr int kLaunchRequestFd = 3;
inline constexpr int kPolicyFd = 4;
inline constexpr int kControlFd = 5;
inline constexpr size_t kMaxPacketBytes = 64 * 1024;

struct MountRequest {
  std::string host_path;
  std::string mount_path;
  bool read_only = true;
};

struct LaunchRequest {
  int version = kProtocolVersion;
  std::string uid;
  int64_t incarnation = 0;
  std::string scope;       // "isla-<uid>-<incarnation>.scope"
  std::string hostname;    // inside the container
  std::string run_dir;     // <run>/<uid>-<incarnation>
  std::string log_path;    // the file of log lines; its folder exists
  int64_t log_max_bytes = 0;  // both segments together; the older half is dropped
  std::string init_path;   // of isla-init
  std::string image;       // "host" or "dir:/path"
  std::string overlay_dir;  // for dir: images: an existing folder for upper/ and work/ ("" = a tmpfs)
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string working_dir;
  int64_t cpu_millis = 0;
  int64_t memory_bytes = 0;
  int64_t tasks = 0;
  int64_t tmpfs_bytes = 0;  // size limit of the root's tmpfs and of /tmp, /dev/shm; within memory_bytes
  int64_t timeout_msec = 0;
  int64_t grace_period_msec = 30'000;
  bool host_network = false;
  std::vector<MountRequest> mounts;
  uint32_t id_base = 0;  // first host uid and gid of the container's range of 65536; the supervisor's own is id_base + 65536
  // Optional: an older agentd doesn't send it.
  std::string supervisor_path;  // of isla-supervisor; "" = none: then the policy may need none
};

/// How a container ended.
struct ExitRecord {
  int exit_code = 0;    // 128 + signal if it was killed by one; 0 with start-error
  int signal = 0;
  std::string cause;    // exited, signal, oom, stopped, timeout, start-error
  std::string step;     // start-error: what failed ("mount proc")
  int error = 0;        // start-error: errno
  bool at_command = false;  // start-error: everything was ready, and the command itself could not be executed. Optional: an older shim doesn't write it
  std::string message;
  int64_t oom_kills = 0;
  int64_t started_at_ns = 0;   // 0 = never ran
  int64_t finished_at_ns = 0;
  int64_t peak_memory_bytes = 0;
  int64_t cpu_time_usec = 0;
  int64_t log_dropped_bytes = 0;
};

json::Value ToJson(const LaunchRequest& request);
/// INVALID_ARGUMENT for a version that it doesn't know, or members that are missing or of the wrong type.
StatusOr<LaunchRequest> LaunchRequestFromJson(const json::Value& value);
json::Value ToJson(const ExitRecord& record);
StatusOr<ExitRecord> ExitRecordFromJson(const json::Value& value);

}  // namespace isla::shim
