// A thread keeps V positions of a row, all channels of its group, normalised and converted, in registers, and writes
// them for one edit after another: the picture is read once, the output is written in whole 16-byte words.
#include "kernels/occlude.h"

#include "core/check.h"
#include "core/device.h"
#include "kernels/edit_runs.h"

namespace xp {
namespace {

enum class Order { planar, interleaved, strided };  // of the output; planar and interleaved are stored by vectors

constexpr int kThreads = 128;
constexpr int64_t kBlocksWanted = 132 * 8;  // enough to fill the largest device
constexpr int64_t kMostEdits = 256, kLeastEdits = 8;

// kept ? x : fill for V elements
template <class T, int V>
XP_D Vec<T, V> select(uint32_t kept, const Vec<T, V>& x, const Vec<T, V>& fill) {
  Vec<T, V> r;
  if constexpr (sizeof(T) == 2 && V % 2 == 0) {  // two per register: an AND mask instead of two selections
    uint32_t a[V / 2], b[V / 2];
    memcpy(a, &x, sizeof a);
    memcpy(b, &fill, sizeof b);
    XP_UNROLL
    for (int i = 0; i < V / 2; ++i) {
      const uint32_t mask = ((kept >> (2 * i)) & 1u) * 0xffffu | ((kept >> (2 * i + 1)) & 1u) * 0xffff0000u;
      a[i] = (a[i] & mask) | (b[i] & ~mask);
    }
    memcpy(&r, a, sizeof a);
  } else {
    XP_UNROLL
    for (int v = 0; v < V; ++v) r.v[v] = (kept >> v) & 1u ? x.v[v] : fill.v[v];
  }
  return r;
}

// CC channels x V positions to memory
template <class T, int V, int CC, Order O>
XP_D void store(T* out, const Strides4& s, const Vec<T, V> (&r)[CC]) {
  if constexpr (O == Order::planar) {
    XP_UNROLL
    for (int c = 0; c < CC; ++c) *reinterpret_cast<Vec<T, V>*>(out + c * s.c) = r[c];
  } else if constexpr (O == Order::interleaved) {  // one contiguous run: transposed in registers
    Vec<T, V> t[CC];
    XP_UNROLL
    for (int e = 0; e < V * CC; ++e) t[e / V].v[e % V] = r[e % CC].v[e / CC];
    XP_UNROLL
    for (int c = 0; c < CC; ++c) *reinterpret_cast<Vec<T, V>*>(out + c * V) = t[c];
  } else {
    XP_UNROLL
    for (int e = 0; e < V * CC; ++e) out[e % CC * s.c + e / CC * s.x] = r[e % CC].v[e / CC];
  }
}

template <class T, class Edits, int V, int CC, Order O>
XP_KERNEL void XP_BOUNDS(kThreads, Edits::hard ? 4 : 3)
    occlude_kernel(OccludeArgs a, typename runs_of<Edits>::type runs, int64_t first_item, int64_t per_block) {
  XP_SHARED(uint32_t, shared);
  constexpr int step = O == Order::interleaved ? CC : 1;  // between neighbouring positions of x and out
  const int64_t groups = a.channels / CC, n = first_item + block_z() / groups, c0 = block_z() % groups * CC;
  const int64_t begin = max64(0, a.start - n * a.edits) + block_y() * per_block;
  const int64_t end = min64(begin + per_block, min64(a.edits, a.stop - n * a.edits));
  if (begin >= end) return;
  runs.prepare(shared, n, begin, end);
  const int64_t p = (int64_t{block_x()} * kThreads + thread_x()) * V;
  if (p >= a.height * a.width) return;
  const int64_t y = p / a.width, x = p - y * a.width;

  Vec<T, V> xt[CC], ft[CC];                                        // hard: already as stored
  float xf[Edits::hard ? 1 : CC][V], ff[Edits::hard ? 1 : CC][V];  // soft: to be blended
  const float* from = a.x + n * a.xs.n + c0 * a.xs.c + y * a.xs.y + x * a.xs.x;
  const float* fill = a.fill + n * a.fs.n + c0 * a.fs.c + y * a.fs.y + x * a.fs.x;
  XP_UNROLL
  for (int c = 0; c < CC; ++c) {
    float colour = normalise(fill[c * a.fs.c], a.scale, a.shift, c0 + c);
    XP_UNROLL
    for (int v = 0; v < V; ++v) {
      const float value = normalise(from[c * a.xs.c + v * step], a.scale, a.shift, c0 + c);
      if (v > 0 && a.fs.x != 0) colour = normalise(fill[c * a.fs.c + v * step], a.scale, a.shift, c0 + c);
      if constexpr (Edits::hard) {
        xt[c].v[v] = from_float<T>(value);
        ft[c].v[v] = from_float<T>(colour);
      } else {
        xf[c][v] = value;
        ff[c][v] = colour;
      }
    }
  }
  typename runs_of<Edits>::type::template Run<V> run;
  runs.load(run, n, y, x);
  runs.block(run, n, begin);
  T* out = static_cast<T*>(a.out) + (n * a.edits + begin - a.start) * a.os.n + c0 * a.os.c + y * a.os.y + x * a.os.x;
  for (int64_t m = begin; m < end; ++m, out += a.os.n) {
    if (m % 32 == 0 && m != begin) runs.block(run, n, m);
    Vec<T, V> r[CC];
    if constexpr (Edits::hard) {
      const uint32_t kept = runs.keep(run, n, m);
      XP_UNROLL
      for (int c = 0; c < CC; ++c) r[c] = select(kept, xt[c], ft[c]);
    } else {
      float mask[V];
      runs.mask(run, n, m, mask);
      XP_UNROLL
      for (int e = 0; e < CC * V; ++e)
        r[e / V].v[e % V] = from_float<T>(blend(xf[e / V][e % V], ff[e / V][e % V], mask[e % V]));
    }
    store<T, V, CC, O>(out, a.os, r);
  }
}

template <class T, class Edits, int V, int CC, Order O>
void run(const OccludeArgs& a, const Edits& edits, Stream stream) {
  const typename runs_of<Edits>::type runs{edits};
  const int64_t first_item = a.start / a.edits, items = ceil_div(a.stop, a.edits) - first_item;
  const int64_t chunks = ceil_div(a.height * a.width, int64_t{kThreads} * V), layers = items * (a.channels / CC);
  const int64_t most = min64(a.edits, a.stop - a.start);
  int64_t per_block = kMostEdits;
  while (per_block > kLeastEdits && chunks * layers * ceil_div(most, per_block) < kBlocksWanted) per_block /= 2;
  while (per_block > 1 && runs.shared_bytes(per_block) > 48 * 1024) per_block /= 2;
  require(runs.shared_bytes(per_block) <= 48 * 1024, "occlude", "a mask's cells do not fit shared memory; use fewer");
  require(a.height < (int64_t{1} << 31) && a.width < (int64_t{1} << 31), "occlude", "the plane is too large");
  const int64_t rows = ceil_div(most, per_block);
  check_grid("occlude", rows, layers);
  launch("occlude", &occlude_kernel<T, Edits, V, CC, O>,
         Dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(rows), static_cast<unsigned>(layers)), kThreads,
         runs.shared_bytes(per_block), stream, a, runs, first_item, per_block);
}

template <class T, class Edits>
void choose(const OccludeArgs& a, const Edits& edits, Stream stream) {
  if constexpr (sizeof(T) == 2 || sizeof(T) == 4) {
    constexpr int V = 16 / sizeof(T);
    const auto whole = [](int64_t n) { return n % V == 0; };
    const auto steps = [&](int64_t s) { return a.os.x == s && a.xs.x == s && (a.fs.x == s || a.fs.x == 0); };
    const bool aligned =
        reinterpret_cast<uintptr_t>(a.out) % 16 == 0 && whole(a.width) && whole(a.os.n) && whole(a.os.y);
    if (aligned && steps(1) && (a.channels == 1 || whole(a.os.c))) {
      if (a.channels % 3 == 0) return run<T, Edits, V, 3, Order::planar>(a, edits, stream);
      return run<T, Edits, V, 1, Order::planar>(a, edits, stream);
    }
    if (aligned && a.channels == 3 && a.os.c == 1 && steps(3))
      return run<T, Edits, V, 3, Order::interleaved>(a, edits, stream);
    if (a.channels % 3 == 0) return run<T, Edits, 1, 3, Order::strided>(a, edits, stream);
  }
  run<T, Edits, 1, 1, Order::strided>(a, edits, stream);
}

}  // namespace

template <class Edits>
void occlude_device(const OccludeArgs& args, const Edits& edits, DType out_type, int device, uintptr_t stream_handle) {
  if (args.start == args.stop || args.channels * args.height * args.width == 0) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  switch (out_type) {
    case DType::f32:
      return choose<float>(args, edits, stream);
    case DType::f16:
      return choose<f16>(args, edits, stream);
    case DType::bf16:
      return choose<bf16>(args, edits, stream);
    case DType::f64:
      return choose<double>(args, edits, stream);
    case DType::u8:
      return choose<uint8_t>(args, edits, stream);
    default:
      refuse("occlude", std::string("cannot write ") + name_of(out_type));
  }
}
void pack_keep_device(const PackKeep& pack, int64_t words, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  for_each("pack_coalitions", words, reinterpret_cast<Stream>(stream), pack);
}
template void occlude_device(const OccludeArgs&, const WindowEdits&, DType, int, uintptr_t);
template void occlude_device(const OccludeArgs&, const CoalitionEdits&, DType, int, uintptr_t);
template void occlude_device(const OccludeArgs&, const RankedEdits&, DType, int, uintptr_t);
template void occlude_device(const OccludeArgs&, const GridEdits&, DType, int, uintptr_t);
template void occlude_device(const OccludeArgs&, const FullEdits&, DType, int, uintptr_t);

}  // namespace xp
