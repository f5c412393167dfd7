// How the kernels over deltas cut their work: masks or chunks are handed out one by one, because windows differ in
// size and every piece writes pixels of its own, so the order cannot change a bit.
#pragma once
#include <atomic>

#include "core/parallel_for.h"

namespace xp::delta {

// f(k) for every k in [0, count), on as many threads as there are cores to be had.
template <class F>
void each(int64_t count, int threads, F f) {
  std::atomic<int64_t> next{0};
  const int limit = threads > 0 ? threads : available_threads();
  const int workers = static_cast<int>(min64(limit, count));
  parallel_for(workers, 1, workers, [&](int64_t, int64_t) {
    for (int64_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(k);
  });
}

}  // namespace xp::delta
