#include "sandbox/runner/program_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace isla::runner {
namespace {

int Runnable(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return errno == ENOTDIR ? ENOENT : errno;
  if (!S_ISREG(st.st_mode)) return S_ISDIR(st.st_mode) ? EISDIR : EACCES;
  return faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

}  // namespace

ProgramPath FindProgram(const std::string& word, const std::vector<std::string>& environment) {
  if (word.empty()) return {word, ENOENT};
  if (word.find('/') != std::string::npos) return {word, Runnable(word)};
  std::string_view folders = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& each : environment) {
    if (each.starts_with("PATH=")) folders = std::string_view(each).substr(5);
  }
  int error = ENOENT;
  for (size_t begin = 0; begin <= folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string folder(folders.substr(begin, end - begin));
    const std::string path = (folder.empty() ? "." : folder) + "/" + word;
    const int found = Runnable(path);
    if (found == 0) return {path, 0};
    if (found != ENOENT && found != EISDIR) error = found;
    begin = end + 1;
  }
  return {word, error == ENOENT ? ENOENT : EACCES};
}

}  // namespace isla::runner
