// Splits [0, n) over threads that live for one call. No pool stays behind: idle pool threads spin on cores that the
// model's runtime needs a moment later, and a forked worker process would inherit a pool without its threads.
// Starting a thread costs some 10 us, so a thread is started per `grain` items only.
#pragma once
#include <sched.h>

#include <cstdlib>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "core/portable.h"

namespace xp {

// Cores this process may use, lowered by OMP_NUM_THREADS where a person set it.
inline int available_threads() {
  cpu_set_t set;
  int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const char* limit = std::getenv("OMP_NUM_THREADS");
  const int asked = limit ? std::atoi(limit) : 0;
  return asked > 0 && asked < cores ? asked : (cores > 0 ? cores : 1);
}

// f(begin, end) on disjoint ranges that cover [0, n); threads <= 0 means available_threads(). An exception in any
// range is thrown again here once all have ended.
template <class F>
void parallel_for(int64_t n, int64_t grain, int threads, F f) {
  if (n <= 0) return;
  const int limit = threads > 0 ? threads : available_threads();
  const int64_t wanted = ceil_div(n, grain > 0 ? grain : 1);
  const int count = static_cast<int>(min64(limit, wanted));
  if (count <= 1) return f(int64_t{0}, n);
  std::vector<std::exception_ptr> failed(count);
  std::vector<std::thread> running;
  running.reserve(count - 1);
  auto part = [&](int k) {
    try {
      f(n * k / count, n * (k + 1) / count);
    } catch (...) {
      failed[k] = std::current_exception();
    }
  };
  for (int k = 1; k < count; ++k) {
    try {
      running.emplace_back(part, k);
    } catch (const std::system_error&) {
      part(k);  // no more threads to be had: slower, not wrong
    }
  }
  part(0);
  for (auto& thread : running) thread.join();
  for (auto& error : failed)
    if (error) std::rethrow_exception(error);
}

}  // namespace xp
