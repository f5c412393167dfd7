// Runs a CUDA kernel's source on the CPU: one fiber per thread, blocks one after another.
//
// What it finds: a missing barrier (shared memory starts as NaN and warps run as far as they can, in shuffled order), a
// divergent barrier (reported as a deadlock), a copy that is not waited for (asynchronous copies happen at the wait and
// no earlier), wrong fragment layouts (the tensor core instructions move data exactly as the hardware does), limits of
// grids, blocks and shared memory, and, built with AddressSanitizer, any access outside a buffer. What it cannot find:
// memory ordering, bank conflicts, races between blocks, the rounding inside a tensor core.
#pragma once
#if !defined(__x86_64__)
#error "the simulator switches stacks with x86-64 instructions"
#endif
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

extern "C" void xplain_switch_fiber(void** save, void* to);

namespace sim {

struct Dim3 {
  unsigned x, y, z;
  Dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct Copy {
  void* to;
  const void* from;
  int bytes, valid;
};
enum class State { ready, at_block_barrier, at_warp_barrier, done };
struct Thread {
  unsigned index = 0;
  State state = State::ready;
  void* stack = nullptr;
  std::vector<std::vector<Copy>> committed;  // asynchronous copies, by group
  std::vector<Copy> open;
};
struct Block {
  Dim3 index, grid;
  unsigned threads = 0;
  unsigned char* shared = nullptr;
  uint32_t exchange[32][32][8];  // by warp and lane
};

struct Machine {
  Thread* thread = nullptr;
  Block* block = nullptr;
  void* scheduler = nullptr;
  const std::function<void()>* body = nullptr;
  std::exception_ptr failure;
  int shared_limit = 99 * 1024;  // what a block may have; the least of the supported devices
  unsigned seed = 0;             // 0: in order; else warps, lanes and blocks run in an order drawn from it
};
inline Machine& machine() {
  static Machine m;
  return m;
}

inline void wait_as(State state) {
  machine().thread->state = state;
  xplain_switch_fiber(&machine().thread->stack, machine().scheduler);
}
inline void sync_block() { wait_as(State::at_block_barrier); }
inline void sync_warp() { wait_as(State::at_warp_barrier); }
inline unsigned lane() { return machine().thread->index % 32; }
inline unsigned warp() { return machine().thread->index / 32; }
inline uint32_t* exchange(unsigned of_lane) { return machine().block->exchange[warp()][of_lane]; }

inline void fiber_main() {
  try {
    (*machine().body)();
  } catch (...) {  // an exception cannot cross stacks: it is thrown again by the launch
    if (!machine().failure) machine().failure = std::current_exception();
  }
  wait_as(State::done);
  std::abort();
}

class Launch {
 public:
  Launch(Dim3 grid, unsigned threads, size_t shared_bytes)
      : grid_(grid),
        threads_(threads),
        shared_bytes_(shared_bytes),
        thread_(threads),
        stacks_(new unsigned char[kStack * threads]),
        random_(machine().seed) {
    if (threads == 0 || threads > 1024) throw std::runtime_error("simulator: a block has 1 to 1024 threads");
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffffu)
      throw std::runtime_error("simulator: the grid is empty or too large");
    if (shared_bytes > static_cast<size_t>(machine().shared_limit))
      throw std::runtime_error("simulator: too much shared memory");
  }

  void run(const std::function<void()>& body) {
    machine().body = &body;
    machine().failure = nullptr;
    const uint64_t count = uint64_t{grid_.x} * grid_.y * grid_.z;
    std::vector<uint64_t> order(count);
    for (uint64_t i = 0; i < count; ++i) order[i] = i;
    if (machine().seed) std::shuffle(order.begin(), order.end(), random_);
    for (uint64_t b : order) {
      run_block(b);
      if (machine().failure) std::rethrow_exception(machine().failure);
    }
  }

 private:
  static constexpr size_t kStack = 64 * 1024;

  void run_block(uint64_t b) {
    // exactly as large as asked for, so that a sanitizer sees the first byte outside
    std::unique_ptr<unsigned char, decltype(&std::free)> shared(
        static_cast<unsigned char*>(std::aligned_alloc(128, std::max<size_t>(128, (shared_bytes_ + 127) / 128 * 128))),
        &std::free);
    std::memset(shared.get(), 0xff, shared_bytes_);  // NaN as float, -1 as integer
    block_.index = Dim3(b % grid_.x, b / grid_.x % grid_.y, b / (uint64_t{grid_.x} * grid_.y));
    block_.grid = grid_;
    block_.threads = threads_;
    block_.shared = shared.get();
    machine().block = &block_;
    for (unsigned i = 0; i < threads_; ++i) start(i);
    std::vector<unsigned> warps((threads_ + 31) / 32);
    for (unsigned i = 0; i < warps.size(); ++i) warps[i] = i;
    for (;;) {
      if (machine().seed) std::shuffle(warps.begin(), warps.end(), random_);
      bool ran = false;
      for (unsigned w : warps) ran |= run_warp(w);
      if (machine().failure) return;
      const auto in = [&](State s) {
        return std::count_if(thread_.begin(), thread_.end(), [s](auto& t) { return t.state == s; });
      };
      const auto done = in(State::done), waiting = in(State::at_block_barrier);
      if (done == threads_) return;
      if (waiting && waiting + done == threads_) {
        if (done) throw std::runtime_error("simulator: threads ended while others wait at a barrier");
        for (auto& t : thread_) t.state = State::ready;
      } else if (!ran) {
        throw std::runtime_error("simulator: deadlock, the threads of a warp wait at different barriers");
      }
    }
  }

  // one warp as far as it goes without the others
  bool run_warp(unsigned w) {
    const unsigned begin = w * 32, end = std::min(threads_, begin + 32);
    std::vector<unsigned> lanes(end - begin);
    for (unsigned i = 0; i < lanes.size(); ++i) lanes[i] = begin + i;
    bool ran = false;
    for (;;) {
      if (machine().seed) std::shuffle(lanes.begin(), lanes.end(), random_);
      for (unsigned i : lanes)
        if (thread_[i].state == State::ready) {
          machine().thread = &thread_[i];
          ran = true;
          xplain_switch_fiber(&machine().scheduler, thread_[i].stack);
        }
      const auto together = std::all_of(lanes.begin(), lanes.end(),
                                        [&](unsigned i) { return thread_[i].state == State::at_warp_barrier; });
      if (!together) return ran;
      for (unsigned i : lanes) thread_[i].state = State::ready;
    }
  }

  void start(unsigned i) {
    Thread& t = thread_[i];
    t.index = i;
    t.state = State::ready;
    t.committed.clear();
    t.open.clear();
#if defined(__SANITIZE_ADDRESS__)
    // the last thread here never returned from its first function, so the guards of its frames still stand
    __asan_unpoison_memory_region(stacks_.get() + kStack * i, kStack);
#endif
    auto top = reinterpret_cast<uintptr_t>(stacks_.get() + kStack * (i + 1)) & ~uintptr_t{15};
    auto** stack = reinterpret_cast<void**>(top);
    *--stack = nullptr;  // where fiber_main would return to
    *--stack = reinterpret_cast<void*>(&fiber_main);
    for (int saved = 0; saved < 6; ++saved) *--stack = nullptr;
    t.stack = stack;
  }

  Dim3 grid_;
  unsigned threads_;
  size_t shared_bytes_;
  std::vector<Thread> thread_;
  std::unique_ptr<unsigned char[]> stacks_;
  std::mt19937 random_;
  Block block_;
};

template <class V>
V shuffle(V value, unsigned from_lane) {
  static_assert(sizeof(V) <= 32);
  std::memcpy(exchange(lane()), &value, sizeof(V));
  sync_warp();
  V result;
  std::memcpy(&result, exchange(from_lane % 32), sizeof(V));
  sync_warp();
  return result;
}

}  // namespace sim
