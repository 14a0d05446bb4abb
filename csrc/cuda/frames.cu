// The gathers are bound by memory, so a thread keeps several independent loads of up to 16 bytes in flight. A block
// first writes the addresses of its rows to shared memory, then copies the rows as one flat range.
#include "cuda/frames.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "cuda/launch.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kInFlight = 4;                    // loads of a thread
constexpr std::int64_t kBlockBytes = 64 << 10;  // copied by a block; enough to outweigh its look-ups
constexpr std::int64_t kMostBlockRows = 64;

std::int64_t rows_per_block(std::int64_t row_bytes) {
  return std::clamp<std::int64_t>(kBlockBytes / std::max<std::int64_t>(row_bytes, 1), 1, kMostBlockRows);
}

// The largest power of two up to 16 that divides all given addresses, strides and sizes.
int common_alignment(std::initializer_list<std::int64_t> values) {
  std::int64_t all = 16;
  for (const std::int64_t value : values) all |= value;
  return static_cast<int>(all & -all);
}
std::int64_t address_of(const void* ptr) { return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(ptr)); }

template <int kBytes>
struct BitsOf;
template <>
struct BitsOf<2> {
  using type = std::uint16_t;
};
template <>
struct BitsOf<4> {
  using type = std::uint32_t;
};
template <>
struct BitsOf<8> {
  using type = uint2;
};
template <>
struct BitsOf<16> {
  using type = uint4;
};

// The type of a load or store of kBytes bytes.
template <int kBytes>
using Bits = typename BitsOf<kBytes>::type;

template <int kBytes>
__device__ Bits<kBytes> repeat(std::uint64_t pattern) {
  const auto low = static_cast<std::uint32_t>(pattern);
  const auto high = static_cast<std::uint32_t>(pattern >> 32);
  if constexpr (kBytes == 16) {
    return make_uint4(low, high, low, high);
  } else if constexpr (kBytes == 8) {
    return make_uint2(low, high);
  } else {
    return static_cast<Bits<kBytes>>(low);
  }
}

template <class T, int kCount>
struct Elements {
  T value[kCount];
};

// Copies the bits of a vector of kBytes bytes.
template <int kBytes>
struct CopyBits {
  using From = Bits<kBytes>;
  using To = Bits<kBytes>;
  __device__ static To convert(From bits) { return bits; }
};

// Converts a vector of kCount elements to another element type.
template <class T, class U, int kCount>
struct ConvertElements {
  using From = Bits<kCount* static_cast<int>(sizeof(T))>;
  using To = Bits<kCount* static_cast<int>(sizeof(U))>;
  __device__ static To convert(From bits) {
    const auto from = bit_cast<Elements<T, kCount>>(bits);
    Elements<U, kCount> to;
#pragma unroll
    for (int i = 0; i < kCount; ++i) to.value[i] = vltr::convert<U>(from.value[i]);
    return bit_cast<To>(to);
  }
};

// The block copies `rows` rows of `vectors` vectors each to contiguous rows. source: the rows' addresses, in shared
// memory; null for a row of NaN, which gets the bits of nan_pattern.
template <class Copy>
__device__ void copy_rows(const std::byte* const* source, unsigned rows, unsigned vectors, std::uint64_t nan_pattern,
                          std::byte* destination) {
  using From = typename Copy::From;
  using To = typename Copy::To;
  To* const out = reinterpret_cast<To*>(destination);
  const std::int64_t total = std::int64_t{rows} * vectors;
  const unsigned row_step = kThreads / vectors;
  const unsigned vector_step = kThreads % vectors;
  unsigned row = threadIdx.x / vectors;
  unsigned vector = threadIdx.x % vectors;
  for (std::int64_t first = threadIdx.x; first < total; first += kInFlight * kThreads) {
    From loaded[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (first + i * kThreads < total) {
        const std::byte* const ptr = source[row];
        loaded[i] = ptr != nullptr ? reinterpret_cast<const From*>(ptr)[vector]
                                   : repeat<static_cast<int>(sizeof(From))>(nan_pattern);
      }
      row += row_step;
      vector += vector_step;
      if (vector >= vectors) {
        vector -= vectors;
        ++row;
      }
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (first + i * kThreads < total) out[first + i * kThreads] = Copy::convert(loaded[i]);
    }
  }
}

// The loads of one lane from a row of numbers, all in flight together; 0 beyond the end.
constexpr int kLabelsInFlight = 8;

__device__ void load_numbers(const Column& row, std::int64_t first, std::int64_t end,
                             double (&number)[kLabelsInFlight]) {
  with_element_type(row.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
#pragma unroll
    for (int i = 0; i < kLabelsInFlight; ++i) {
      const std::int64_t at = first + i * kLabelLanes;
      number[i] = at < end ? number_of(load_element<T>(row.at(at))) : 0.0;
    }
  });
}

// The part of a sample's sum that belongs to one of the kLabelLanes lanes.
__device__ LabelSum lane_sum(LabelRule rule, const Grid& targets, std::int64_t sample, const Column& scores,
                             std::int64_t classes, int lane) {
  const Column row{targets.at(sample, 0), targets.col_stride, targets.dtype};
  LabelSum sum = no_labels(rule);
  for (std::int64_t first = lane; first < classes; first += kLabelsInFlight * kLabelLanes) {
    double target[kLabelsInFlight];
    double score[kLabelsInFlight];
    load_numbers(row, first, classes, target);
    load_numbers(scores, first, classes, score);
#pragma unroll
    for (int i = 0; i < kLabelsInFlight; ++i) sum = add_label(rule, sum, target[i], score[i]);
  }
  return sum;
}

// Folds the lanes' sums, in shared memory, with one warp. Lane 0 of the warp returns the result.
__device__ LabelSum fold_lanes(LabelRule rule, const LabelSum* lanes) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  LabelSum sum = join(rule, join(rule, lanes[lane], lanes[lane + 64]), join(rule, lanes[lane + 32], lanes[lane + 96]));
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const double value = __shfl_down_sync(kWholeWarp, sum.value, step);
    const double weight = __shfl_down_sync(kWholeWarp, sum.weight, step);
    sum = join(rule, sum, {value, weight});
  }
  return sum;
}

// Beta of a sample from its labels and its partner's: each half of the block sums the labels of one of the two.
__device__ float beta_of_labels(const FrameStack& request, std::int64_t sample, std::int64_t partner) {
  static_assert(kThreads == 2 * kLabelLanes, "a half for each of the two");
  __shared__ LabelSum lanes[kThreads];
  __shared__ float score[2];
  const int half = static_cast<int>(threadIdx.x) / kLabelLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLabelLanes;
  const LabelRule labels = request.rule.labels;
  lanes[threadIdx.x] =
      lane_sum(labels, request.targets, half == 0 ? sample : partner, request.rap, request.classes, lane);
  __syncthreads();
  if (lane < kWarp) {
    const LabelSum sum = fold_lanes(labels, lanes + half * kLabelLanes);
    if (lane == 0) score[half] = stack_score(request.rule, sum, request.classes);
  }
  __syncthreads();
  return stack_beta(score[0], score[1]);
}

// Each block copies some slots of one sample's clip and mixes some of its labels. Every block of a sample computes beta
// again: reading two rows of labels from the L2 cache costs less than a second launch.
template <int kBytes>
__global__ void __launch_bounds__(kThreads)
    frame_stack_kernel(const __grid_constant__ FrameStack request, int pieces, unsigned rows) {
  const StackPlan& plan = request.plan;
  const std::int64_t sample = blockIdx.x / static_cast<unsigned>(pieces);
  const int piece = static_cast<int>(blockIdx.x % static_cast<unsigned>(pieces));
  const std::int64_t partner = plan.partner_of(sample);
  float beta = 0.0f;
  if (sample < plan.mixed) {
    beta =
        request.has_beta() ? request.beta_of(sample) : beta_of_labels(request, sample, partner < 0 ? sample : partner);
  }
  const bool known = partner >= 0 && is_share(beta);

  __shared__ const std::byte* source[kMostBlockRows];
  const unsigned first_slot = static_cast<unsigned>(piece) * rows;
  const unsigned left = plan.clip_length - first_slot;
  const unsigned slots = left < rows ? left : rows;
  if (threadIdx.x < slots) {
    const StackPick pick =
        stack_pick(plan, known ? partner_frames(beta, plan.clip_length) : 0, first_slot + threadIdx.x);
    source[threadIdx.x] = known ? request.features.at(pick.of_partner ? partner : sample, pick.frame) : nullptr;
  }
  __syncthreads();
  copy_rows<CopyBits<kBytes>>(source, slots, static_cast<unsigned>(request.frame_bytes / kBytes),
                              nan_pattern(request.dtype),
                              request.out_features + (sample * plan.clip_length + first_slot) * request.frame_bytes);

  if (piece == 0 && threadIdx.x == 0) {
    request.out_beta[sample] = known ? beta : float{kNan<float>};
    if (request.out_partner != nullptr) request.out_partner[sample] = partner;
  }
  if (request.targets.data == nullptr) return;
  with_element_type(request.targets.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* const out = reinterpret_cast<MixedOf<T>*>(request.out_targets) + sample * request.classes;
    for (std::int64_t c = piece * kThreads + threadIdx.x; c < request.classes; c += pieces * kThreads) {
      const T label = load_element<T>(request.targets.at(sample, c));
      const T partner_label = known ? load_element<T>(request.targets.at(partner, c)) : label;
      out[c] = mix_labels(known ? beta : float{kNan<float>}, label, partner_label);
    }
  });
}

// The number of vectors of kCount elements that a lane sums.
template <int kCount>
constexpr int kVectorsOfLane = kCount == 1 || kCount == 8 ? 2 : 4;

// A warp sums the gradient of kVectors vectors per lane of one source frame. It adds all slots that hold the frame,
// sample by sample and slot by slot, so that each output has one writer and the order of the sum is fixed.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads, 4)
    frame_stack_gradient_kernel(const __grid_constant__ FrameStackGradient request, int pieces) {
  using Lane = LaneOf<T>;
  constexpr int kVectors = kVectorsOfLane<kCount>;
  using Loaded = Bits<kCount* static_cast<int>(sizeof(T))>;
  const StackPlan& plan = request.plan;
  const std::int64_t warp = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = warp / pieces;
  if (row >= plan.samples * plan.frames) return;
  const std::int64_t source = row / plan.frames;
  const auto frame = static_cast<std::uint32_t>(row % plan.frames);
  const std::int64_t vectors = request.dims / kCount;
  const std::int64_t first = (warp % pieces) * (kVectors * kWarp) + lane;

  Lane sum[kVectors][kCount] = {};
  for (std::int64_t base = 0; base < plan.samples; base += kWarp) {
    const std::int64_t candidate = base + lane;
    const bool takes = candidate < plan.samples && request.takes_part(candidate) &&
                       (candidate == source || plan.partner_of(candidate) == source);
    for (unsigned takers = __ballot_sync(kWholeWarp, takes); takers != 0; takers &= takers - 1) {
      const std::int64_t taker = base + __ffs(static_cast<int>(takers)) - 1;
      request.for_each_slot(taker, source, frame, [&](std::uint32_t slot) {
        const auto* const ptr = reinterpret_cast<const Loaded*>(request.gradient.at(taker, slot));
        Loaded loaded[kVectors];
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
          if (first + v * kWarp < vectors) loaded[v] = ptr[first + v * kWarp];
        }
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
          if (first + v * kWarp >= vectors) continue;
          const auto element = bit_cast<Elements<T, kCount>>(loaded[v]);
#pragma unroll
          for (int i = 0; i < kCount; ++i) sum[v][i] += to_lane(element.value[i]);
        }
      });
    }
  }
  auto* const out = reinterpret_cast<Loaded*>(request.out) + row * vectors;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (first + v * kWarp >= vectors) continue;
    Elements<T, kCount> element;
#pragma unroll
    for (int i = 0; i < kCount; ++i) element.value[i] = from_lane<T>(one_nan(sum[v][i]));
    out[first + v * kWarp] = bit_cast<Loaded>(element);
  }
}

template <class Copy>
__global__ void __launch_bounds__(kThreads)
    gather_frames_kernel(const __grid_constant__ FrameGather request, int rows) {
  __shared__ const std::byte* source[kMostBlockRows];
  constexpr int kBytes = static_cast<int>(sizeof(typename Copy::From));
  const std::int64_t first_row = std::int64_t{blockIdx.x} * rows;
  const std::int64_t left = request.samples * request.num_picks - first_row;
  const int block_rows = static_cast<int>(left < rows ? left : rows);
  if (static_cast<int>(threadIdx.x) < block_rows) {
    const std::int64_t row = first_row + threadIdx.x;
    const std::int64_t stored = picked_row(request, row / request.num_picks, row % request.num_picks);
    source[threadIdx.x] = stored >= 0 ? request.frame(stored) : nullptr;
  }
  __syncthreads();
  const std::int64_t vectors = request.frame_bytes / kBytes;
  copy_rows<Copy>(source, static_cast<unsigned>(block_rows), static_cast<unsigned>(vectors), nan_pattern(request.dtype),
                  request.out + first_row * vectors * static_cast<std::int64_t>(sizeof(typename Copy::To)));
}

constexpr int kDrawThreads = 128;

// A block draws the frames of one sample. Each thread counts the draws before its draw: that count is its index in the
// sorted output. The block repeats the draws to compare with, a chunk at a time.
__global__ void __launch_bounds__(kDrawThreads) sample_frames_kernel(const __grid_constant__ FrameSample request) {
  constexpr unsigned kChunk = 1024;
  __shared__ std::uint32_t chunk[kChunk];
  __shared__ KeyedPermutation permutation;
  const std::int64_t sample = blockIdx.x;
  const std::uint32_t count = request.num_frames;
  const std::int64_t length = index_at(request.lengths.at(sample), request.lengths.dtype);
  std::int64_t* const out = request.out + sample * count;
  if (!is_length(length) || request.mode == SampleMode::kUniform) {
    for (std::uint32_t k = threadIdx.x; k < count; k += kDrawThreads) {
      out[k] = is_length(length) ? spread_frame<std::int64_t>(k, count, length) : -1;
    }
    return;
  }
  const auto frames = static_cast<std::uint32_t>(length);
  const DrawKey key = draw_key(request.seed, request.ids, sample, request.epoch);
  if (threadIdx.x == 0 && request.mode == SampleMode::kDistinct) {
    set_frame_permutation(permutation, key, Purpose::kDistinctFrames, 0, frames);
  }
  __syncthreads();
  for (std::uint32_t base = 0; base < count; base += kDrawThreads) {
    const std::uint32_t k = base + threadIdx.x;
    const std::uint32_t drawn = k < count ? drawn_frame(request, key, permutation, frames, k) : 0;
    std::uint32_t rank = 0;
    for (std::uint32_t first = 0; first < count; first += kChunk) {
      const std::uint32_t filled = count - first < kChunk ? count - first : kChunk;
      __syncthreads();
      for (std::uint32_t i = threadIdx.x; i < filled; i += kDrawThreads) {
        chunk[i] = drawn_frame(request, key, permutation, frames, first + i);
      }
      __syncthreads();
      for (std::uint32_t i = 0; i < filled; ++i)
        rank += chunk[i] < drawn || (chunk[i] == drawn && first + i < k) ? 1 : 0;
    }
    if (k < count) out[rank] = drawn;
  }
}

// A block makes the masks of one sample, one after another.
__global__ void __launch_bounds__(kDrawThreads, 8)
    dynamic_frame_masks_kernel(const __grid_constant__ FrameMasks request) {
  static_assert(kDrawThreads == kLabelLanes, "a thread for each lane");
  __shared__ LabelSum lanes[kLabelLanes];
  __shared__ KeyedPermutation permutation;
  __shared__ std::uint32_t fewest;
  const std::int64_t sample = blockIdx.x;
  const DrawKey key = draw_key(request.seed, request.ids, sample, request.epoch);
  lanes[threadIdx.x] = lane_sum(LabelRule::kMean, request.targets, sample, request.bounds, request.classes,
                                static_cast<int>(threadIdx.x));
  __syncthreads();
  if (threadIdx.x < kWarp) {
    const LabelSum sum = fold_lanes(LabelRule::kMean, lanes);
    if (threadIdx.x == 0) fewest = fewest_frames(sum, request.num_frames);
  }
  for (std::uint32_t mask = 0; mask < request.num_masks; ++mask) {
    std::byte* const out = request.out + (sample * request.num_masks + mask) * request.num_frames;
    for (std::uint32_t t = threadIdx.x; t < request.num_frames; t += kDrawThreads) out[t] = std::byte{0};
    if (threadIdx.x == 0) set_frame_permutation(permutation, key, Purpose::kMaskFrames, mask, request.num_frames);
    __syncthreads();
    const std::uint32_t size = mask_size(request, key, mask, fewest);
    for (std::uint32_t k = threadIdx.x; k < size; k += kDrawThreads) out[permute(permutation, k)] = std::byte{1};
    __syncthreads();
  }
}

// Calls function(kBytes) with the widest vector that the alignment allows, as a compile-time constant.
template <class Function>
void with_vector_bytes(int alignment, const Function& function) {
  switch (alignment) {
    case 16:
      return function(std::integral_constant<int, 16>{});
    case 8:
      return function(std::integral_constant<int, 8>{});
    case 4:
      return function(std::integral_constant<int, 4>{});
    default:
      return function(std::integral_constant<int, 2>{});
  }
}

template <class Copy>
void launch_gather(const FrameGather& request, const Stream& stream) {
  const std::int64_t rows = rows_per_block(request.frame_bytes);
  launch(stream, "gather_frames", gather_frames_kernel<Copy>, blocks_for(request.samples * request.num_picks, rows),
         kThreads, 0, request, static_cast<int>(rows));
}

template <class T, class U>
void gather_as(const FrameGather& request, const Stream& stream) {
  const int from = common_alignment({address_of(request.store), request.frame_stride, request.frame_bytes});
  if constexpr (std::is_same_v<T, U>) {
    with_vector_bytes(common_alignment({from, address_of(request.out)}),
                      [&](auto bytes) { launch_gather<CopyBits<bytes>>(request, stream); });
  } else {
    // 16 bytes of the wider type.
    constexpr int kCount = static_cast<int>(16 / std::max(sizeof(T), sizeof(U)));
    const std::int64_t elements = request.frame_bytes / static_cast<std::int64_t>(sizeof(T));
    const int to = common_alignment({address_of(request.out), elements * static_cast<std::int64_t>(sizeof(U))});
    if (from >= kCount * static_cast<int>(sizeof(T)) && to >= kCount * static_cast<int>(sizeof(U))) {
      launch_gather<ConvertElements<T, U, kCount>>(request, stream);
    } else {
      launch_gather<ConvertElements<T, U, 1>>(request, stream);
    }
  }
}

template <class T, int kCount>
void launch_gradient(const FrameStackGradient& request, const Stream& stream) {
  const std::int64_t pieces = blocks_for(request.dims / kCount, kVectorsOfLane<kCount> * kWarp);
  const std::int64_t warps = request.plan.samples * request.plan.frames * pieces;
  launch(stream, "frame_stack_gradient", frame_stack_gradient_kernel<T, kCount>, blocks_for(warps, kThreads / kWarp),
         kThreads, 0, request, static_cast<int>(pieces));
}

}  // namespace

void frame_stack(const FrameStack& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const Clips& features = request.features;
  const std::int64_t rows = rows_per_block(request.frame_bytes);
  const std::int64_t pieces = blocks_for(request.plan.clip_length, rows);
  const int alignment = common_alignment({address_of(features.data), features.sample_stride, features.frame_stride,
                                          request.frame_bytes, address_of(request.out_features)});
  with_vector_bytes(alignment, [&](auto bytes) {
    launch(stream, "frame_stack", frame_stack_kernel<bytes>, request.plan.samples * pieces, kThreads, 0, request,
           static_cast<int>(pieces), static_cast<unsigned>(rows));
  });
}

void frame_stack_gradient(const FrameStackGradient& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  with_float_type(request.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kCount = static_cast<int>(16 / sizeof(T));
    const Clips& gradient = request.gradient;
    const int alignment =
        common_alignment({address_of(gradient.data), gradient.sample_stride, gradient.frame_stride,
                          request.dims * static_cast<std::int64_t>(sizeof(T)), address_of(request.out)});
    if (alignment == 16) {
      launch_gradient<T, kCount>(request, stream);
    } else {
      launch_gradient<T, 1>(request, stream);
    }
  });
}

void gather_frames(const FrameGather& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  with_float_type(request.dtype, [&](auto from) {
    with_float_type(request.out_dtype, [&](auto to) {
      gather_as<typename decltype(from)::type, typename decltype(to)::type>(request, stream);
    });
  });
}

void sample_frames(const FrameSample& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  launch(stream, "sample_frames", sample_frames_kernel, request.samples, kDrawThreads, 0, request);
}

void dynamic_frame_masks(const FrameMasks& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  launch(stream, "dynamic_frame_masks", dynamic_frame_masks_kernel, request.samples, kDrawThreads, 0, request);
}

}  // namespace vltr::cuda
