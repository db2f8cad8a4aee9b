// Prints how many processors and how much memory this program believes it has, by each of the ways that C and C++ have to ask.
#include <omp.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

int main() {
  cpu_set_t mask;
  const int affinity = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : -1;
  int threads = 0;
#pragma omp parallel
#pragma omp single
  threads = omp_get_num_threads();
  std::printf("online=%ld configured=%ld get_nprocs=%d hardware_concurrency=%u affinity=%d omp_procs=%d omp_threads=%d mebibytes=%ld\n",
              sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF), get_nprocs(), std::thread::hardware_concurrency(), affinity,
              omp_get_num_procs(), threads, sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024);
}
