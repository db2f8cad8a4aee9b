#include "sandbox/supervisor/call_shape.h"

#include <sys/syscall.h>

#include <array>
#include <initializer_list>
#include <utility>

namespace isla::supervisor {
namespace {

constexpr size_t kNumbers = 512;
using Kind = CallShape::Kind;
using Last = CallShape::Last;
using Table = std::array<CallShape, kNumbers>;

/// One path argument.
constexpr CallShape Path(int folder, int path, Last last = Last::kFollow, int flags = -1, Kind kind = Kind::kOther) {
  CallShape shape;
  shape.kind = kind;
  shape.last = last;
  shape.paths = 1;
  shape.path[0] = static_cast<int8_t>(path);
  shape.folder[0] = static_cast<int8_t>(folder);
  shape.flags = static_cast<int8_t>(flags);
  return shape;
}

constexpr CallShape TwoPaths(int folder0, int path0, int folder1, int path1) {
  CallShape shape = Path(folder0, path0, Last::kKeep);
  shape.paths = 2;
  shape.path[1] = static_cast<int8_t>(path1);
  shape.folder[1] = static_cast<int8_t>(folder1);
  return shape;
}

constexpr CallShape Address(Kind kind) {
  CallShape shape;
  shape.kind = kind;
  shape.socket = 0;
  shape.address = 1;
  shape.address_bytes = 2;
  return shape;
}

constexpr CallShape OpenHow() {
  CallShape shape = Path(0, 1, Last::kByFlags, -1, Kind::kOpen);
  shape.fields = 2;
  shape.fields_bytes = 3;
  return shape;
}

Table MakeTable() {
  Table table{};
  const auto set = [&table](std::initializer_list<std::pair<int, CallShape>> calls) {
    for (const auto& [number, shape] : calls) table[static_cast<size_t>(number)] = shape;
  };
  set({{SYS_openat, Path(0, 1, Last::kByFlags, 2, Kind::kOpen)},
       {SYS_openat2, OpenHow()},
       {SYS_mknodat, Path(0, 1, Last::kKeep, -1, Kind::kMakeNode)},
       {SYS_connect, Address(Kind::kConnect)},
       {SYS_bind, Address(Kind::kBind)},
       {SYS_mkdirat, Path(0, 1, Last::kKeep)},
       {SYS_unlinkat, Path(0, 1, Last::kKeep)},
       {SYS_fchmodat, Path(0, 1)},
       {SYS_fchownat, Path(0, 1, Last::kByFlags, 4)},
       {SYS_newfstatat, Path(0, 1, Last::kByFlags, 3)},
       {SYS_statx, Path(0, 1, Last::kByFlags, 2)},
       {SYS_faccessat, Path(0, 1)},
       {SYS_faccessat2, Path(0, 1, Last::kByFlags, 3)},
       {SYS_readlinkat, Path(0, 1, Last::kKeep)},
       {SYS_utimensat, Path(0, 1, Last::kByFlags, 3)},
       {SYS_symlinkat, Path(1, 2, Last::kKeep)},
       {SYS_execve, Path(-1, 0)},
       {SYS_execveat, Path(0, 1, Last::kByFlags, 4)},
       {SYS_chdir, Path(-1, 0)},
       {SYS_chroot, Path(-1, 0)},
       {SYS_truncate, Path(-1, 0)},
       {SYS_statfs, Path(-1, 0)},
       {SYS_renameat2, TwoPaths(0, 1, 2, 3)},
       {SYS_linkat, TwoPaths(0, 1, 2, 3)}});
#ifdef SYS_open
  set({{SYS_open, Path(-1, 0, Last::kByFlags, 1, Kind::kOpen)},
       {SYS_creat, Path(-1, 0, Last::kFollow, -1, Kind::kOpen)},
       {SYS_mknod, Path(-1, 0, Last::kKeep, -1, Kind::kMakeNode)},
       {SYS_mkdir, Path(-1, 0, Last::kKeep)},
       {SYS_rmdir, Path(-1, 0, Last::kKeep)},
       {SYS_unlink, Path(-1, 0, Last::kKeep)},
       {SYS_chmod, Path(-1, 0)},
       {SYS_chown, Path(-1, 0)},
       {SYS_lchown, Path(-1, 0, Last::kKeep)},
       {SYS_stat, Path(-1, 0)},
       {SYS_lstat, Path(-1, 0, Last::kKeep)},
       {SYS_access, Path(-1, 0)},
       {SYS_readlink, Path(-1, 0, Last::kKeep)},
       {SYS_symlink, Path(-1, 1, Last::kKeep)},
       {SYS_rename, TwoPaths(-1, 0, -1, 1)},
       {SYS_renameat, TwoPaths(0, 1, 2, 3)},
       {SYS_link, TwoPaths(-1, 0, -1, 1)}});
#endif
  return table;
}

}  // namespace

const CallShape& ShapeOf(int number) {
  static const Table kTable = MakeTable();
  static const CallShape kNothing;
  return number >= 0 && static_cast<size_t>(number) < kNumbers ? kTable[static_cast<size_t>(number)] : kNothing;
}

}  // namespace isla::supervisor
