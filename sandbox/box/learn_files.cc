// Which files a learnt policy lets be reached: from single paths to folders.
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "api/base/unique_fd.h"
#include "sandbox/box/learn.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {
namespace {

constexpr size_t kSeveral = 4;  // files of one folder that make it a folder that is used

// Programs, libraries and their data: public on every machine, and which of them are read differs by the day.
constexpr std::string_view kPublic[] = {"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/include", "/usr/local",
                                        "/usr/games", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"};
// Where names are made up anew each time.
constexpr std::string_view kTemporary[] = {"/tmp", "/var/tmp", "/dev/shm", "/run/user"};
// Folders whose files stay single, whatever is used of them.
constexpr std::string_view kSingle[] = {"/etc", "/root", "/dev", "/sys", "/var/lib", "/var/log", "/run", "/boot"};
constexpr std::string_view kSecretNames[] = {"shadow", "gshadow", "passwd-", "shadow-", "sudoers", ".ssh", ".gnupg", ".aws", ".kube", ".docker", ".netrc", ".pgpass", ".git-credentials",
                                             ".config", ".mozilla", ".password-store", "private", "secrets", "credentials", "id_rsa", "id_ecdsa", "id_ed25519"};
constexpr std::string_view kSecretEnds[] = {".pem", ".key", ".p12", ".pfx", ".kdbx", ".keytab"};

bool IsUnder(std::string_view path, std::string_view folder) { return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/'); }

bool IsSecret(std::string_view path) {
  for (const std::string_view end : kSecretEnds) {
    if (path.ends_with(end)) return true;
  }
  for (size_t begin = 1; begin < path.size();) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, slash - begin);
    if (std::find(std::begin(kSecretNames), std::end(kSecretNames), name) != std::end(kSecretNames)) return true;
    begin = slash + 1;
  }
  return false;
}

size_t Depth(std::string_view path) { return path == "/" ? 0 : static_cast<size_t>(std::count(path.begin(), path.end(), '/')); }

/// Whether this folder may stand for several of its files: nobody's home, no top of a tree, nothing with secrets below by design.
bool MayCollapse(const std::string& folder) {
  if (Depth(folder) < 2 || IsSecret(folder)) return false;
  if (IsUnder(folder, "/home") && Depth(folder) < 3) return false;
  return std::none_of(std::begin(kSingle), std::end(kSingle), [&folder](std::string_view each) { return IsUnder(folder, each) && Depth(folder) < Depth(each) + 2; });
}

/// A folder that was listed, of which everything else is none of the command's business.
bool TooWide(const std::string& folder) {
  const bool temporary = std::find(std::begin(kTemporary), std::end(kTemporary), folder) != std::end(kTemporary);
  return !temporary && !IsUnder(folder, "/proc") && !IsUnder(folder, "/sys") && !MayCollapse(folder);
}

/// /proc/42/stat: another number the next time.
std::string WithoutPids(const std::string& path) {
  if (!IsUnder(path, "/proc") || path.size() < 7) return path;
  return std::isdigit(static_cast<unsigned char>(path[6])) != 0 ? "/proc" : path;
}

std::string Generalised(const std::string& path) {
  for (const std::string_view folder : kPublic) {
    if (IsUnder(path, folder)) return std::string(folder);
  }
  for (const std::string_view folder : kTemporary) {
    if (IsUnder(path, folder) && path != folder) return path;
  }
  return WithoutPids(path);
}

void CollapseSeveral(std::map<std::string, uint8_t>& files) {
  // Deepest first, so that folders of folders are found, too.
  for (size_t depth = 24; depth > 1; --depth) {
    std::map<std::string, std::map<uint8_t, std::vector<std::string>>> by_folder;
    for (const auto& [path, access] : files) {
      if (Depth(path) == depth && !IsSecret(path)) by_folder[ParentOf(path)][access].push_back(path);
    }
    for (const auto& [folder, by_access] : by_folder) {
      for (const auto& [access, paths] : by_access) {
        if (paths.size() < kSeveral || !MayCollapse(folder)) continue;
        files[folder] |= access;
        for (const std::string& path : paths) files.erase(path);
      }
    }
  }
}

/// What a folder above allows already needs no entry.
void RemoveCovered(std::map<std::string, uint8_t>& files) {
  for (auto at = files.begin(); at != files.end();) {
    uint8_t above = 0;
    for (std::string folder = at->first; folder != "/";) {
      folder = ParentOf(folder);
      const auto found = files.find(folder);
      if (found != files.end()) above = static_cast<uint8_t>(above | found->second);
    }
    if ((at->second & ~above) == 0) at = files.erase(at);
    else ++at;
  }
}

char KindOf(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return '\0';
  if (S_ISDIR(st.st_mode)) return 'd';
  if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) return 'f';
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char begin[2] = {};
  return fd.valid() && pread(fd.get(), begin, 2, 0) == 2 && begin[0] == '#' && begin[1] == '!' ? 's' : 'f';
}

std::string LoaderOf(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  Elf64_Ehdr head{};
  if (!fd.valid() || pread(fd.get(), &head, sizeof head, 0) != sizeof head || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(Elf64_Phdr)) return {};
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment{};
    if (pread(fd.get(), &segment, sizeof segment, static_cast<off_t>(head.e_phoff) + i * static_cast<off_t>(sizeof segment)) != sizeof segment) return {};
    if (segment.p_type != PT_INTERP || segment.p_filesz > 4096) continue;
    std::string loader(segment.p_filesz, '\0');
    if (pread(fd.get(), loader.data(), loader.size(), static_cast<off_t>(segment.p_offset)) != static_cast<ssize_t>(loader.size())) return {};
    // Where it really is: what Landlock goes by.
    char real[PATH_MAX];
    return realpath(loader.c_str(), real) != nullptr ? real : "";
  }
  return {};
}

// The kernel's stamps are of its last tick.
constexpr auto kClockTick = std::chrono::milliseconds(10);

bool BornAfter(const std::string& path, WallTime begin) {
  struct statx st {};
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME, &st) != 0 || (st.stx_mask & STATX_BTIME) == 0) return false;
  const auto born = std::chrono::seconds(st.stx_btime.tv_sec) + std::chrono::nanoseconds(st.stx_btime.tv_nsec);
  return born >= begin.time_since_epoch();
}

void ReadFreePorts(uint16_t& first, uint16_t& last) {
  std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
  uint16_t low = 0, high = 0;
  if (file >> low >> high && low <= high) first = low, last = high;
}

}  // namespace

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

FileFacts FactsOfHost(WallTime begin) {
  FileFacts out = {KindOf, LoaderOf, [begin](const std::string& path) { return BornAfter(path, begin - kClockTick); }};
  ReadFreePorts(out.first_free_port, out.last_free_port);
  return out;
}

std::map<std::string, uint8_t> CollapseFiles(const Observed& observed, const FileFacts& facts, std::vector<std::string>* too_wide) {
  std::map<std::string, uint8_t> used = observed.files, out;
  for (const std::string& exe : observed.executables) {
    used[exe] |= kRead | kExecute;
    if (const std::string loader = facts.loader(exe); !loader.empty()) used[loader] |= kRead | kExecute;
  }
  for (const auto& [path, access] : used) {
    uint8_t wanted = access;
    char kind = facts.kind(path);
    std::string where = Generalised(path);
    if (kind == 's') wanted |= kExecute;
    // What isn't there at the start can't be named to Landlock: what was made, or made and removed again, is its folder's.
    const auto folder = used.find(ParentOf(path));
    const bool beside_made = folder != used.end() && (folder->second & kCreate) != 0 && facts.kind(folder->first) == '\0';
    const bool makes = beside_made || (access & (kWrite | kCreate | kDelete)) != 0;
    if (where == path && (facts.made(path) || (kind == '\0' && makes))) {
      while (where != "/" && (kind == '\0' || facts.made(where))) kind = facts.kind(where = ParentOf(where));
      if (where == "/") continue;
    }
    if (kind == '\0' && where == path) continue;
    // To list a folder is to read all below it, in Landlock's rules as they are written here.
    if (kind == 'd' && where == path && access == kRead && TooWide(path)) {
      if (too_wide != nullptr) too_wide->push_back(path);
      continue;
    }
    // A folder of programs may be executed from once something was.
    out[where] |= wanted;
  }
  CollapseSeveral(out);
  RemoveCovered(out);
  return out;
}

}  // namespace isla::sandbox
