#include "cpu/frames.hpp"

#include <algorithm>
#include <vector>

#include "core/errors.hpp"
#include "core/span.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace vltr::cpu {
namespace {

constexpr std::int64_t kItemBytes = 256 << 10;  // output of one item of work
constexpr std::int64_t kSamplesPerItem = 8;     // if an item is small sums or draws

std::int64_t ceil_divide(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

std::int64_t rows_per_item(std::int64_t row_bytes) {
  return std::max<std::int64_t>(1, kItemBytes / std::max<std::int64_t>(row_bytes, 1));
}

// Calls task(sample) for each sample.
template <class Task>
void for_each_sample(std::int64_t samples, const Runner& runner, const Task& task) {
  runner.run(ceil_divide(samples, kSamplesPerItem), [&](std::int64_t item, int) {
    const std::int64_t end = std::min(samples, (item + 1) * kSamplesPerItem);
    for (std::int64_t sample = item * kSamplesPerItem; sample < end; ++sample) task(sample);
  });
}

void copy_row(const std::byte* from, std::byte* to, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

#if defined(__SSE2__)
// Streaming stores bypass the caches. Memory is not read before it is written, which saves a third of the traffic.
void stream_row(const std::byte* from, std::byte* to, std::int64_t bytes) {
  const auto head = std::min<std::int64_t>(bytes, -reinterpret_cast<std::intptr_t>(to) & 15);
  copy_row(from, to, head);
  const std::int64_t whole = head + ((bytes - head) & ~std::int64_t{63});
  for (std::int64_t i = head; i < whole; i += 64) {
    __m128i line[4];
    for (int j = 0; j < 4; ++j) line[j] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i) + j);
    for (int j = 0; j < 4; ++j) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i) + j, line[j]);
  }
  copy_row(from + whole, to + whole, bytes - whole);
}
void end_streaming() { _mm_sfence(); }
#else
void stream_row(const std::byte* from, std::byte* to, std::int64_t bytes) { copy_row(from, to, bytes); }
void end_streaming() {}
#endif

// Outputs larger than the caches are streamed.
constexpr std::int64_t kStreamedBytes = 16 << 20;

using CopyRow = void (*)(const std::byte*, std::byte*, std::int64_t);

CopyRow row_copier(std::int64_t out_bytes) { return out_bytes >= kStreamedBytes ? stream_row : copy_row; }

// Sums over labels

Array<double> numbers(const Column& column, std::int64_t count) {
  Array<double> values(count);
  with_element_type(column.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = number_of(load_element<T>(column.at(i)));
    }
  });
  return values;
}

LabelSum label_sum(LabelRule rule, const Grid& targets, std::int64_t sample, const Array<double>& scores) {
  LabelSum lanes[kLabelLanes];
  std::fill(std::begin(lanes), std::end(lanes), no_labels(rule));
  with_element_type(targets.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const std::byte* ptr = targets.at(sample, 0);
    for (std::int64_t c = 0; c < scores.count(); ++c, ptr += targets.col_stride) {
      LabelSum& lane = lanes[c % kLabelLanes];
      lane = add_label(rule, lane, number_of(load_element<T>(ptr)), scores[c]);
    }
  });
  for (int step = kLabelLanes / 2; step > 0; step /= 2) {
    for (int lane = 0; lane < step; ++lane) lanes[lane] = join(rule, lanes[lane], lanes[lane + step]);
  }
  return lanes[0];
}

// FrameStack

void check(const FrameStack& request) {
  for (std::int64_t sample = 0; sample < request.plan.mixed; ++sample) {
    if (request.plan.partner_of(sample) < 0) throw BadValue("partner", sample, 0);
    if (request.has_beta() && !is_share(request.beta_of(sample))) throw BadValue("beta", sample, 0);
  }
}

// The scores of the mixed samples, or nothing if beta is given.
Array<float> stack_scores(const FrameStack& request, const Runner& runner) {
  if (request.has_beta()) return {};
  Array<float> scores(request.plan.mixed);
  const Array<double> rap = numbers(request.rap, request.classes);
  for_each_sample(request.plan.mixed, runner, [&](std::int64_t sample) {
    const LabelSum sum = label_sum(request.rule.labels, request.targets, sample, rap);
    scores[sample] = stack_score(request.rule, sum, request.classes);
  });
  return scores;
}

void mix_row(const FrameStack& request, float beta, std::int64_t sample, std::int64_t partner) {
  with_element_type(request.targets.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* const out = reinterpret_cast<MixedOf<T>*>(request.out_targets) + sample * request.classes;
    const std::byte* label = request.targets.at(sample, 0);
    const std::byte* partner_label = request.targets.at(partner, 0);
    for (std::int64_t c = 0; c < request.classes; ++c) {
      out[c] = mix_labels(beta, load_element<T>(label), load_element<T>(partner_label));
      label += request.targets.col_stride;
      partner_label += request.targets.col_stride;
    }
  });
}

// Gathers of frames

template <class T, class U>
void convert_row(const std::byte* from, std::byte* to, std::int64_t dims) {
  U* const out = reinterpret_cast<U*>(to);
  for (std::int64_t d = 0; d < dims; ++d) {
    out[d] = convert<U>(load_element<T>(from + d * static_cast<std::int64_t>(sizeof(T))));
  }
}

void check(const FrameGather& request) {
  for (std::int64_t sample = 0; sample < request.samples; ++sample) {
    const std::int64_t video = index_at(request.videos.at(sample), request.videos.dtype);
    if (video < 0 || video >= request.num_videos) throw BadValue("videos", sample, 0);
    if (!in_store(request, frames_of(request, video))) throw BadValue("offsets", video, 0);
    for (std::int64_t pick = 0; pick < request.num_picks; ++pick) {
      if (picked_row(request, sample, pick) < 0) throw BadValue("frame_indices", sample, pick);
    }
  }
}

}  // namespace

void frame_stack(const FrameStack& request, const Runner& runner) {
  check(request);
  const StackPlan& plan = request.plan;
  const Array<float> scores = stack_scores(request, runner);
  const std::int64_t rows = rows_per_item(request.frame_bytes);
  const std::int64_t pieces = ceil_divide(plan.clip_length, rows);
  const CopyRow copy = row_copier(plan.samples * plan.clip_length * request.frame_bytes);
  runner.run(plan.samples * pieces, [&](std::int64_t item, int) {
    const std::int64_t sample = item / pieces;
    const std::int64_t partner = plan.partner_of(sample);
    float beta = 0.0f;
    if (sample < plan.mixed) {
      beta = scores.empty() ? request.beta_of(sample) : stack_beta(scores[sample], scores[partner]);
    }
    const std::uint32_t partner_count = partner_frames(beta, plan.clip_length);
    const auto first = static_cast<std::uint32_t>(item % pieces * rows);
    const auto end = static_cast<std::uint32_t>(std::min<std::int64_t>(plan.clip_length, first + rows));
    std::byte* out = request.out_features + (sample * plan.clip_length + first) * request.frame_bytes;
    for (std::uint32_t slot = first; slot < end; ++slot, out += request.frame_bytes) {
      const StackPick pick = stack_pick(plan, partner_count, slot);
      copy(request.features.at(pick.of_partner ? partner : sample, pick.frame), out, request.frame_bytes);
    }
    end_streaming();
    if (first != 0) return;
    request.out_beta[sample] = beta;
    if (request.out_partner != nullptr) request.out_partner[sample] = partner;
    if (request.targets.data != nullptr) mix_row(request, beta, sample, partner);
  });
}

void frame_stack_gradient(const FrameStackGradient& request, const Runner& runner) {
  const StackPlan& plan = request.plan;
  // For each source sample, the samples whose clips have frames of it, ascending.
  Array<Array<std::int64_t>> takers(plan.samples);
  for (std::int64_t sample = 0; sample < plan.samples; ++sample) {
    if (!request.takes_part(sample)) continue;
    takers[sample].push_back(sample);
    const std::int64_t partner = plan.partner_of(sample);
    if (partner != sample) takers[partner].push_back(sample);
  }
  with_float_type(request.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Lane = LaneOf<T>;
    constexpr std::int64_t kSize = sizeof(T);
    const std::int64_t rows = rows_per_item(request.dims * kSize);
    const std::int64_t all_rows = plan.samples * plan.frames;
    runner.run(ceil_divide(all_rows, rows), [&](std::int64_t item, int) {
      Array<Lane> sum(request.dims);
      for (std::int64_t row = item * rows; row < std::min(all_rows, (item + 1) * rows); ++row) {
        const std::int64_t source = row / plan.frames;
        std::fill(sum.begin(), sum.end(), Lane{0});
        for (const std::int64_t taker : takers[source]) {
          request.for_each_slot(taker, source, static_cast<std::uint32_t>(row % plan.frames), [&](std::uint32_t slot) {
            const std::byte* ptr = request.gradient.at(taker, slot);
            for (Lane& total : sum) {
              total += to_lane(load_element<T>(ptr));
              ptr += kSize;
            }
          });
        }
        T* const out = reinterpret_cast<T*>(request.out) + row * request.dims;
        std::transform(sum.begin(), sum.end(), out, [](Lane total) { return from_lane<T>(one_nan(total)); });
      }
    });
  });
}

void gather_frames(const FrameGather& request, const Runner& runner) {
  check(request);
  const std::int64_t all_rows = request.samples * request.num_picks;
  with_float_type(request.dtype, [&](auto from) {
    with_float_type(request.out_dtype, [&](auto to) {
      using T = typename decltype(from)::type;
      using U = typename decltype(to)::type;
      const std::int64_t dims = request.frame_bytes / static_cast<std::int64_t>(sizeof(T));
      const std::int64_t out_bytes = dims * static_cast<std::int64_t>(sizeof(U));
      const std::int64_t rows = rows_per_item(out_bytes);
      const CopyRow copy = row_copier(all_rows * out_bytes);
      runner.run(ceil_divide(all_rows, rows), [&](std::int64_t item, int) {
        for (std::int64_t row = item * rows; row < std::min(all_rows, (item + 1) * rows); ++row) {
          const std::byte* const ptr =
              request.frame(picked_row(request, row / request.num_picks, row % request.num_picks));
          std::byte* const out = request.out + row * out_bytes;
          if constexpr (std::is_same_v<T, U>) {
            copy(ptr, out, out_bytes);
          } else {
            convert_row<T, U>(ptr, out, dims);
          }
        }
        end_streaming();
      });
    });
  });
}

void sample_frames(const FrameSample& request, const Runner& runner) {
  for (std::int64_t sample = 0; sample < request.samples; ++sample) {
    if (!is_length(index_at(request.lengths.at(sample), request.lengths.dtype))) throw BadValue("lengths", sample, 0);
  }
  for_each_sample(request.samples, runner, [&](std::int64_t sample) {
    const std::int64_t length = index_at(request.lengths.at(sample), request.lengths.dtype);
    std::int64_t* const out = request.out + sample * request.num_frames;
    if (request.mode == SampleMode::kUniform) {
      for (std::uint32_t k = 0; k < request.num_frames; ++k) {
        out[k] = spread_frame<std::int64_t>(k, request.num_frames, length);
      }
      return;
    }
    const auto frames = static_cast<std::uint32_t>(length);
    const DrawKey key = draw_key(request.seed, request.ids, sample, request.epoch);
    KeyedPermutation permutation{};
    if (request.mode == SampleMode::kDistinct) {
      set_frame_permutation(permutation, key, Purpose::kDistinctFrames, 0, frames);
    }
    for (std::uint32_t k = 0; k < request.num_frames; ++k) {
      out[k] = drawn_frame(request, key, permutation, frames, k);
    }
    std::sort(out, out + request.num_frames);
  });
}

void dynamic_frame_masks(const FrameMasks& request, const Runner& runner) {
  const Array<double> bounds = numbers(request.bounds, request.classes);
  for_each_sample(request.samples, runner, [&](std::int64_t sample) {
    const std::uint32_t fewest =
        fewest_frames(label_sum(LabelRule::kMean, request.targets, sample, bounds), request.num_frames);
    const DrawKey key = draw_key(request.seed, request.ids, sample, request.epoch);
    for (std::uint32_t mask = 0; mask < request.num_masks; ++mask) {
      std::byte* const out = request.out + (sample * request.num_masks + mask) * request.num_frames;
      std::fill(out, out + request.num_frames, std::byte{0});
      KeyedPermutation permutation{};
      set_frame_permutation(permutation, key, Purpose::kMaskFrames, mask, request.num_frames);
      const std::uint32_t size = mask_size(request, key, mask, fewest);
      for (std::uint32_t k = 0; k < size; ++k) out[permute(permutation, k)] = std::byte{1};
    }
  });
}

}  // namespace vltr::cpu
