#include "sandbox/box/completion.h"

#include <algorithm>

#include "sandbox/box/options.h"
#include "sandbox/names/groups.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

constexpr std::string_view kScript =
    R"script(# bash completion of isla-box: source <(isla-box completion bash)
_isla_box() {
    local cur="${COMP_WORDS[COMP_CWORD]}" IFS=$'\n'
    local words=() word found
    # bash takes --flag=value for three words.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        [[ $word == = ]] || words+=("$word")
    done
    if [[ $cur == = ]]; then
        cur=
        words+=("")
    fi
    found=$(isla-box __complete "${words[@]}" 2>/dev/null) || found=
    if [[ $found == :files ]]; then
        COMPREPLY=($(compgen -f -- "$cur"))
        compopt -o filenames 2>/dev/null
        return
    fi
    if [[ $found == :commands ]]; then
        COMPREPLY=($(compgen -c -- "$cur"))
        return
    fi
    COMPREPLY=($(compgen -W "$found" -- "$cur"))
    return 0
}
complete -F _isla_box isla-box
)script";

std::vector<std::string> ValuesOf(const std::string& command, const std::string& flag) {
  if (flag == "--arch") return {"arm64", "x86-64"};
  if (flag == "--notified") return {"allow", "deny", "notify", "refuse"};
  if (flag == "--share" || flag == "--unshare") return {"all", "cgroup", "ipc", "mount", "net", "pid", "user", "uts"};
  if ((flag == "--output" || flag == "-o") && command == "learn") return {};
  if (flag == "--output" || flag == "-o") {
    return command == "export" ? std::vector<std::string>{"bpf", "listing", "oci"} : std::vector<std::string>{"json"};
  }
  return {};
}

/// What the shell knows better than we is left to it: `shell` is ":files" or ":commands" then.
std::vector<std::string> Candidates(const std::vector<std::string>& words, std::string& shell) {
  const std::string& current = words.back();
  if (words.size() == 1) return BoxCommands();
  const std::string &command = words.front(), &before = words[words.size() - 2];
  if (const auto values = ValuesOf(command, before); !values.empty()) return values;
  const bool file = before == "--file" || before == "-f" || before == "--policy" || before == "--merge" || before == "--audit" || before == "--chdir" || before == "--root" ||
          ((before == "-o" || before == "--output") && command == "learn");
  if (file) {
    shell = ":files";
    return {};
  }
  // After "--" come the words of a command that is none of ours.
  if (std::find(words.begin(), words.end() - 1, "--") != words.end() - 1) {
    shell = before == "--" ? ":commands" : ":files";
    return {};
  }
  if (current.starts_with("-")) return BoxFlags(command);
  if (command == "completion") return {"bash"};
  if (command == "help") return BoxCommands();
  if (command != "calls") {
    shell = ":files";
    return {};
  }
  std::vector<std::string> out;
  for (const Group& group : AllGroups()) out.emplace_back(group.name);
  for (const Syscall& call : AllSyscalls()) out.emplace_back(call.name);
  return out;
}

}  // namespace

std::string_view BoxCompletionScript() { return kScript; }

std::string BoxComplete(const std::vector<std::string>& words) {
  if (words.empty()) return {};
  std::string shell;
  const std::vector<std::string> found = Candidates(words, shell);
  if (!shell.empty()) return shell + "\n";
  std::string out;
  for (const std::string& each : found) {
    if (each.starts_with(words.back())) out += each + "\n";
  }
  return out;
}

}  // namespace isla::sandbox
