// A least policy from what a command did: pure functions from the supervisor's audit lines to a manifest. The run itself is
// learn_command.cc's.
//
//   calls      those that were seen, those that no filter can hand over (sandbox/compiled_policy.h: NeverNotified), and those that are
//              made or not by chance: waiting above all. Of a few, the values of an argument that says what the call is for: socket
//              families, ioctl requests, fcntl and prctl commands, mmap and mprotect protections
//   files      by Landlock: what was opened, made and removed. Folders of programs and libraries become one entry, and folders of
//              which several files were used in the same way; files of secrets, /etc and /dev stay single
//   addresses  that were connected to and bound
//
// What a command does another time only (an error's path, a different day) isn't there: learn again, and merge.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

/// What the supervisor is run with meanwhile: all that can be handed over is, with paths and addresses, and goes on.
Policy LearnPolicy(Arch arch);

/// What was seen. Merging two is the union.
struct Observed {
  std::set<std::string> calls;
  std::map<std::string, std::set<uint64_t>> values;  // by call: of the argument that LearntArgument() says
  std::map<std::string, uint8_t> files;              // Access bits by path; of created and removed files, by the folder
  std::set<std::string> executables;
  std::set<std::pair<std::string, uint16_t>> connects, binds;  // address, port
  bool internet = false;
  uint64_t dropped = 0;  // lines that were lost: then something may be missing
};

/// One audit line. INVALID_ARGUMENT if it is none.
Status Observe(std::string_view line, Observed& out);

/// What the files are, for whoever makes the manifest: of the host as it is after the run.
struct FileFacts {
  /// '\0': it isn't there, 'd' a folder, 'f' a file, 's' a script (a file that can be executed and begins with "#!").
  std::function<char(const std::string&)> kind;
  /// The loader of a dynamic program, "" for others.
  std::function<std::string(const std::string&)> loader;
  /// Whether the run itself made it: it will have to be made again, maybe by another name, and what isn't there at the start can't be
  /// named to Landlock. So the folder that was there before has what is done with it. Not known where the file system keeps no times of birth.
  std::function<bool(const std::string&)> made;
  /// The ports that the kernel gives to who asks for any.
  uint16_t first_free_port = 32768, last_free_port = 60999;
};
/// `begin`: when the run began.
FileFacts FactsOfHost(WallTime begin);

/// The folder that an absolute path is in; "/" is in itself.
std::string ParentOf(const std::string& path);

/// files.allow of what was observed, collapsed and sorted. Folders that were only listed and are too wide to be allowed ("/", "/etc", a home:
/// an entry would let all of it be read) are left out, and told.
std::map<std::string, uint8_t> CollapseFiles(const Observed& observed, const FileFacts& facts, std::vector<std::string>* too_wide = nullptr);

/// The manifest, a policy that sandbox/manifest reads. `too_wide` as of CollapseFiles().
json::Value LearntManifest(const Observed& observed, const std::string& name, const FileFacts& facts, Arch arch, std::vector<std::string>* too_wide = nullptr);

/// `learnt` and an earlier manifest together: calls, values, paths and addresses of both; rules of the earlier one that learning
/// doesn't make stay, first. INVALID_ARGUMENT if it isn't made of groups.
StatusOr<json::Value> MergeManifests(const json::Value& earlier, const json::Value& learnt);

}  // namespace isla::sandbox
