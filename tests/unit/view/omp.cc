// What libgomp and the C++ library take for the number of cpus.
#include <omp.h>

#include <cstdio>
#include <thread>

int main() {
  std::printf("%d %u\n", omp_get_num_procs(), std::thread::hardware_concurrency());
  return 0;
}
