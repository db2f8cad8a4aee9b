// Other programs, run and timed; and what they need to build the same sandbox as isla-box.
#pragma once

#include <string>
#include <vector>

namespace isla::bench {

/// A folder that is gone with this.
class WorkFolder {
 public:
  WorkFolder();
  ~WorkFolder();
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

/// Runs a program to its end, its output to nowhere: microseconds; 0 if it isn't there or fails. `input`, if not empty, is a file
/// that it has as descriptor 11.
double Timed(const std::vector<std::string>& argv, const std::string& input = {});
/// What it prints; "" if it fails.
std::string Output(const std::vector<std::string>& argv);
bool IsThere(const std::string& program);

/// Where crun is run: a mount namespace with a cgroup2 of its own, which it needs on hybrid machines. Returns what Timed() does.
double TimedCrun(const std::string& bundle);
/// The bundle that runs /bin/true in namespaces, root and filter (`profile`: OCI's JSON) such as the others'.
void WriteBundle(const WorkFolder& folder, const std::string& profile);

}  // namespace isla::bench
