#include "sandbox/names/groups.h"

#include <algorithm>

#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

struct Row {
  std::string_view name, about, members;  // members are separated by blanks
};

constexpr Row kRows[] = {
    {"@default", "what every program needs to start, to know who it is and what time it is, and to end",
     "arch_prctl brk clock_getres clock_gettime clock_nanosleep execve exit exit_group futex futex_waitv "
     "futex_wait futex_wake futex_requeue get_robust_list get_thread_area getegid geteuid getgid getgroups "
     "getpgid getpgrp getpid getppid getrandom getresgid getresuid getrlimit getsid gettid gettimeofday "
     "getuid membarrier mmap mprotect munmap nanosleep pause prlimit64 restart_syscall rseq rt_sigreturn "
     "sched_getaffinity sched_yield set_robust_list set_thread_area set_tid_address time uretprobe uprobe"},
    {"@aio", "asynchronous input and output (the old interface)",
     "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit"},
    {"@basic-io", "reading and writing descriptors",
     "close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv "
     "write writev"},
    {"@chown", "changing the owner of files",
     "chown fchown fchownat lchown"},
    {"@clock", "setting the clock",
     "adjtimex clock_adjtime clock_settime settimeofday"},
    {"@cpu-emulation", "running code of other processors",
     "modify_ldt"},
    {"@debug", "looking into other processes",
     "kcmp lookup_dcookie perf_event_open pidfd_getfd process_madvise process_vm_readv process_vm_writev "
     "ptrace"},
    {"@file-open", "calls that open a file by its path",
     "creat open openat openat2"},
    {"@file-path", "calls whose path rules can look at",
     "access chdir chmod chown chroot creat faccessat faccessat2 fchmodat fchownat lchown link linkat "
     "lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 readlink readlinkat rename renameat "
     "renameat2 rmdir stat statfs statx symlink symlinkat truncate unlink unlinkat utimensat"},
    {"@file-system", "files and folders",
     "access chdir chmod close creat faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 fcntl "
     "fgetxattr file_getattr file_setattr flistxattr fremovexattr fsetxattr fstat fstatfs ftruncate "
     "futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init "
     "inotify_init1 inotify_rm_watch lgetxattr link linkat listmount listxattr listxattrat llistxattr "
     "lremovexattr lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 readlink "
     "readlinkat removexattr removexattrat rename renameat renameat2 rmdir setxattr setxattrat stat statfs "
     "statmount statx symlink symlinkat truncate umask unlink unlinkat utime utimensat utimes"},
    {"@io-event", "waiting for descriptors",
     "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
     "epoll_wait_old eventfd eventfd2 poll ppoll pselect6 select"},
    {"@io-uring", "io_uring, whose operations no filter sees",
     "io_uring_enter io_uring_register io_uring_setup"},
    {"@ipc", "pipes, message queues, semaphores, shared memory",
     "memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget "
     "msgrcv msgsnd pipe pipe2 process_madvise process_vm_readv process_vm_writev semctl semget semop "
     "semtimedop shmat shmctl shmdt shmget"},
    {"@keyring", "the kernel's keys",
     "add_key keyctl request_key"},
    {"@memlock", "keeping memory from being swapped",
     "mlock mlock2 mlockall munlock munlockall"},
    {"@memory", "mapping and advising memory",
     "brk cachestat get_mempolicy madvise map_shadow_stack mbind memfd_create memfd_secret mincore mmap "
     "mprotect mremap mseal msync munmap remap_file_pages set_mempolicy set_mempolicy_home_node"},
    {"@module", "kernel modules",
     "delete_module finit_module init_module"},
    {"@mount", "mounts and the root",
     "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr "
     "pivot_root umount2"},
    {"@network-io", "sockets",
     "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg "
     "sendmmsg sendmsg sendto setsockopt shutdown socket socketpair"},
    {"@obsolete", "gone, or never there",
     "_sysctl afs_syscall create_module get_kernel_syms getpmsg nfsservctl putpmsg query_module security "
     "sysfs tuxcall uselib ustat vserver"},
    {"@pkey", "memory protection keys",
     "pkey_alloc pkey_free pkey_mprotect"},
    {"@privileged", "what asks for a privilege",
     "@chown @clock @module @raw-io @reboot @swap _sysctl acct bpf capset chroot fanotify_init "
     "fanotify_mark nfsservctl open_by_handle_at pivot_root quotactl quotactl_fd setdomainname setfsuid "
     "setgroups sethostname setresuid setreuid setuid vhangup"},
    {"@process", "making, waiting for and signalling processes",
     "arch_prctl capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl "
     "rt_sigqueueinfo rt_tgsigqueueinfo setns tgkill times tkill unshare vfork wait4 waitid"},
    {"@raw-io", "hardware",
     "ioperm iopl"},
    {"@reboot", "ending or replacing the kernel",
     "kexec_file_load kexec_load reboot"},
    {"@resources", "limits, priorities, processors",
     "ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam "
     "sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit"},
    {"@sandbox", "giving up rights",
     "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"},
    {"@setuid", "changing user and group",
     "setgid setgroups setregid setresgid setresuid setreuid setuid"},
    {"@signal", "handling signals",
     "rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait sigaltstack signalfd "
     "signalfd4"},
    {"@swap", "swap space",
     "swapoff swapon"},
    {"@sync", "writing to the disk",
     "fdatasync fsync msync sync sync_file_range syncfs"},
    {"@timer", "timers",
     "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_settime "
     "timerfd_create timerfd_gettime timerfd_settime times"},
    {"@system-service", "what an ordinary service needs: no privileges, no debugging",
     "@aio @basic-io @chown @default @file-system @io-event @ipc @keyring @memlock @memory @network-io "
     "@process @resources @setuid @signal @sync @timer capget capset copy_file_range execveat fadvise64 "
     "flock getcpu getpriority ioctl ioprio_get kcmp lsm_get_self_attr lsm_list_modules lsm_set_self_attr "
     "name_to_handle_at personality process_mrelease readahead sched_get_priority_max "
     "sched_get_priority_min sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
     "sendfile setfsgid setfsuid setpgid setsid splice sysinfo syslog tee uname userfaultfd vmsplice"},
    {"@container", "what ordinary programs use: compilers, Python, Node.js and git run with it; the default policy",
     "accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chroot "
     "clock_getres clock_gettime clock_nanosleep clone close close_range connect copy_file_range creat dup "
     "dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 "
     "execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod "
     "fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr "
     "fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake "
     "futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid "
     "geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom "
     "getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid "
     "getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy "
     "io_getevents io_pgetevents io_setup io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule "
     "landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr "
     "llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack mbind membarrier memfd_create "
     "memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr "
     "mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync "
     "munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause "
     "pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 "
     "preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink "
     "readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 "
     "restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
     "rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min "
     "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
     "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl "
     "semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node "
     "set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid "
     "setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr shmat "
     "shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socket socketpair splice stat statfs "
     "statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create "
     "timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime "
     "timerfd_settime times tkill truncate umask uname unlink unlinkat unshare utime utimensat utimes "
     "vfork vmsplice wait4 waitid write writev"},
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void AddMembers(std::string_view group, std::vector<std::string_view>& out) {
  for (const Row& row : kRows) {
    if (row.name != group) continue;
    for (const std::string_view member : Words(row.members)) {
      if (member.starts_with('@')) AddMembers(member, out);
      else out.push_back(member);
    }
  }
}

constexpr Row kKnown = {"@known", "every call of x86-64 and arm64", ""};

Group Expand(const Row& row) {
  Group out = {row.name, row.about, {}};
  if (&row == &kKnown) {
    for (const Syscall& call : AllSyscalls()) out.calls.push_back(call.name);
  } else {
    AddMembers(row.name, out.calls);
  }
  // Most groups are written in order.
  if (!std::is_sorted(out.calls.begin(), out.calls.end())) std::sort(out.calls.begin(), out.calls.end());
  out.calls.erase(std::unique(out.calls.begin(), out.calls.end()), out.calls.end());
  return out;
}

std::vector<Group> MakeGroups() {
  std::vector<Group> out = {Expand(kKnown)};
  for (const Row& row : kRows) out.push_back(Expand(row));
  std::sort(out.begin(), out.end(), [](const Group& a, const Group& b) { return a.name < b.name; });
  return out;
}

}  // namespace

const std::vector<Group>& AllGroups() {
  static const std::vector<Group> kGroups = MakeGroups();
  return kGroups;
}

std::optional<Group> FindGroup(std::string_view name) {
  if (name == kKnown.name) return Expand(kKnown);
  const auto found = std::find_if(std::begin(kRows), std::end(kRows), [name](const Row& row) { return row.name == name; });
  return found == std::end(kRows) ? std::nullopt : std::optional(Expand(*found));
}

}  // namespace isla::sandbox
