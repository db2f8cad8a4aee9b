// isla-box: see box.h.
#include <fcntl.h>
#include <unistd.h>

#include "api/base/unique_fd.h"
#include "sandbox/box/box.h"
#include "sandbox/box/output_file.h"

namespace {

class ProcessIo : public isla::sandbox::BoxIo {
 public:
  void Out(std::string_view text) override { Put(STDOUT_FILENO, text); }
  void Err(std::string_view text) override { Put(STDERR_FILENO, text); }
  isla::StatusOr<std::string> Read(const std::string& path, size_t limit_bytes) override {
    return isla::ReadFile(path == "-" ? "/dev/stdin" : path, limit_bytes);
  }
  isla::Status CheckWritable(const std::string& path) override { return path == "-" ? isla::OkStatus() : isla::sandbox::CheckOutput(path); }
  isla::Status Write(const std::string& path, std::string_view bytes) override {
    return path == "-" ? isla::WriteAll(STDOUT_FILENO, bytes) : isla::sandbox::WriteOutput(path, bytes);
  }
  void Leave(int code) override {
#if defined(ISLA_LEAVE_AT_ONCE)
    // Output is nobody's buffer. Going through the memory would bring pages back into a program that ends, while whoever started the command waits.
    _exit(ExitOf(code));
#else
    (void)code;
#endif
  }
  int ExitOf(int code) const { return failed_ && code == 0 ? 2 : code; }

 private:
  void Put(int fd, std::string_view text) { failed_ = !isla::WriteAll(fd, text).ok() || failed_; }

  bool failed_ = false;
};

/// What was closed would be the number of some descriptor of ours, and then the command's.
void OpenStandardStreams() {
  for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;
    close(fd);
    return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  OpenStandardStreams();
  ProcessIo io;
  const int code = isla::sandbox::BoxMain(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), io);
  io.Leave(code);
  return io.ExitOf(code);
}
