// The frame rules of training: the frames and the label weights of FrameStack, the position of a frame in a flat store,
// the frames drawn from a video, and the dynamic frame sampler of MOVE.
//
// FrameStack (Zhang et al., "VideoLT", ICCV 2021) joins frames of sample i and of its partner j. The score s of a
// sample follows from its labels and their running APs, and beta = s_i / (s_i + s_j). F_j = floor(beta L) frames come
// from the partner and F_i = L - F_j from the sample itself; the label is (1 - beta) y_i + beta y_j. MOVE (Hu et al.,
// 2023) keeps n frames of T at random, n from [m, T], where m is the mean bound of the sample's labels.
//
// Bits  all sums go over 128 lanes (lane l has classes l, l + 128, ...), which are folded in one fixed tree; all draws
//       are Philox of (seed; sample, epoch, purpose): the same numbers on every device and for any batch
// Test  csrc/tests/test_frames.cpp, tests/train/
#pragma once

#include <cstddef>

#include "core/convert_core.hpp"
#include "core/draw_core.hpp"

namespace vltr {

// Borrowed arrays, as kernels take them. Strides are in bytes and may be zero or negative.
struct Column {
  const std::byte* data;
  std::int64_t stride;
  DType dtype;

  VLTR_HD const std::byte* at(std::int64_t i) const { return data + i * stride; }
};
struct Grid {
  const std::byte* data;
  std::int64_t row_stride;
  std::int64_t col_stride;
  DType dtype;

  VLTR_HD const std::byte* at(std::int64_t row, std::int64_t col) const {
    return data + row * row_stride + col * col_stride;
  }
};
// (samples, frames, D): the D numbers of a frame are contiguous.
struct Clips {
  const std::byte* data;
  std::int64_t sample_stride;
  std::int64_t frame_stride;

  VLTR_HD const std::byte* at(std::int64_t sample, std::int64_t frame) const {
    return data + sample * sample_stride + frame * frame_stride;
  }
};

template <class T>
VLTR_HD double number_of(T value) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(value);
  } else {
    return widen(to_lane(value));
  }
}
VLTR_HD double number_of(double value) { return value; }

// An element of an integer array. A uint64 beyond int64 becomes negative, so every index check refuses it.
VLTR_HD std::int64_t index_at(const std::byte* ptr, DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return load_element<std::uint8_t>(ptr);
    case DType::kInt8:
      return load_element<std::int8_t>(ptr);
    case DType::kUInt16:
      return load_element<std::uint16_t>(ptr);
    case DType::kInt16:
      return load_element<std::int16_t>(ptr);
    case DType::kUInt32:
      return load_element<std::uint32_t>(ptr);
    case DType::kInt32:
      return load_element<std::int32_t>(ptr);
    default:
      return load_element<std::int64_t>(ptr);
  }
}

// The one NaN of all results. Processors give the NaN of an operation different signs and payloads.
template <class Lane>
constexpr Lane kNan = std::numeric_limits<Lane>::quiet_NaN();

template <class Lane>
VLTR_HD Lane one_nan(Lane value) {
  return value == value ? value : Lane{kNan<Lane>};
}

// Eight bytes of NaN in a float type.
VLTR_HD std::uint64_t nan_pattern(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return 0x7E00'7E00'7E00'7E00u;
    case DType::kBFloat16:
      return 0x7FC0'7FC0'7FC0'7FC0u;
    case DType::kFloat32:
      return 0x7FC0'0000'7FC0'0000u;
    default:
      return 0x7FF8'0000'0000'0000u;
  }
}

// Sums over the labels of a sample.

constexpr int kLabelLanes = 128;

enum class LabelRule : int { kSum, kMean, kMin };

struct LabelSum {
  double value;   // sum of target x score, or the lowest score
  double weight;  // sum of targets, or the number of labels
};

constexpr double kAboveAllScores = std::numeric_limits<double>::infinity();

VLTR_HD LabelSum no_labels(LabelRule rule) { return {rule == LabelRule::kMin ? double{kAboveAllScores} : 0.0, 0.0}; }

// The lower of two; NaN if either is.
VLTR_HD double lower(double a, double b) { return b < a || b != b ? b : a; }

// Classes that the sample does not have are skipped, so their scores may be NaN.
VLTR_HD LabelSum add_label(LabelRule rule, LabelSum sum, double target, double score) {
  if (target == 0) return sum;
  if (rule == LabelRule::kMin) return {lower(sum.value, score), sum.weight + 1};
  return {sum.value + target * score, sum.weight + target};
}

VLTR_HD LabelSum join(LabelRule rule, LabelSum a, LabelSum b) {
  return {rule == LabelRule::kMin ? lower(a.value, b.value) : a.value + b.value, a.weight + b.weight};
}

// 0 for a sample without labels.
VLTR_HD double label_score(LabelRule rule, LabelSum sum) {
  if (rule == LabelRule::kSum) return sum.value;
  if (sum.weight == 0) return 0;
  return rule == LabelRule::kMean ? sum.value / sum.weight : sum.value;
}

// FrameStack.

// The largest T and L. The products below then fit in 32 bits, where a division is a dozen instructions on a device.
constexpr std::uint32_t kMostClipFrames = 1u << 16;

struct StackPlan {
  std::int64_t samples;       // B
  std::int64_t mixed;         // the first samples, mixed among themselves; the others stay unchanged
  std::uint32_t frames;       // T of a sample
  std::uint32_t clip_length;  // L of a result; T where not all samples are mixed
  Column partner;             // (mixed,) of integers
  bool partner_first;         // frames of the partner come first

  // -1 if the index is not one of the mixed samples.
  VLTR_HD std::int64_t partner_of(std::int64_t sample) const {
    if (sample >= mixed) return sample;
    const std::int64_t index = index_at(partner.at(sample), partner.dtype);
    return index >= 0 && index < mixed ? index : -1;
  }
};

// The rule for the score of a sample from its labels.
struct ScoreRule {
  LabelRule labels;
  bool per_class;  // divided by the number of classes before the comparison with 1e-5, as in the published code
};

VLTR_HD float stack_score(ScoreRule rule, LabelSum sum, std::int64_t classes) {
  const float score = static_cast<float>(label_score(rule.labels, sum));
  return rule.per_class ? score / static_cast<float>(classes) : score;
}

VLTR_HD bool is_share(float value) { return value >= 0.0f && value <= 1.0f; }

// One half if the scores carry no information: NaN, nearly 0, or of different signs.
VLTR_HD float stack_beta(float sample_score, float partner_score) {
  const float sum = sample_score + partner_score;
  const float share = sample_score / sum;
  return sum >= 1e-5f && is_share(share) ? share : 0.5f;
}

// F_j, by the float32 product. beta must be in [0, 1].
VLTR_HD std::uint32_t partner_frames(float beta, std::uint32_t clip_length) {
  return static_cast<std::uint32_t>(beta * static_cast<float>(clip_length));
}

// The k-th of `count` frames spread over `frames`: floor(k (frames - 1) / (count - 1)), and frame 0 where count is 1.
template <class Int>
VLTR_HD Int spread_frame(Int k, Int count, Int frames) {
  return count > 1 ? k * (frames - 1) / (count - 1) : 0;
}

// The first k with spread_frame(k) >= frame, or `count` if there is none. Needs frame <= frames.
VLTR_HD std::uint32_t first_spread_at(std::uint32_t frame, std::uint32_t count, std::uint32_t frames) {
  if (frame == 0) return 0;
  if (count <= 1 || frames == 1) return count;
  const std::uint32_t k = (frame * (count - 1) + frames - 2) / (frames - 1);
  return k < count ? k : count;
}

// One of the two parts of a clip: frames of the sample, or frames of its partner.
struct StackPart {
  bool of_partner;
  std::uint32_t first_slot;
  std::uint32_t count;
};

VLTR_HD StackPart stack_part(const StackPlan& plan, std::uint32_t partner_count, int which) {
  const bool of_partner = (which == 0) == plan.partner_first;
  const std::uint32_t count = of_partner ? partner_count : plan.clip_length - partner_count;
  return {of_partner, which == 0 ? 0 : plan.clip_length - count, count};
}

struct StackPick {
  bool of_partner;
  std::uint32_t frame;
};

VLTR_HD StackPick stack_pick(const StackPlan& plan, std::uint32_t partner_count, std::uint32_t slot) {
  const StackPart first = stack_part(plan, partner_count, 0);
  const StackPart part = slot < first.count ? first : stack_part(plan, partner_count, 1);
  return {part.of_partner, spread_frame(slot - part.first_slot, part.count, plan.frames)};
}

// The type of mixed labels: the labels' float type, or float32 for bool and integers.
template <class T>
using MixedOf = std::conditional_t<std::is_integral_v<T>, float, T>;

template <class T>
VLTR_HD MixedOf<T> mix_labels(float beta, T sample, T partner) {
  if constexpr (std::is_same_v<T, double>) {
    const double share = static_cast<double>(beta);
    return one_nan((1.0 - share) * sample + share * partner);
  } else if constexpr (std::is_integral_v<T>) {
    return (1.0f - beta) * static_cast<float>(sample) + beta * static_cast<float>(partner);
  } else {
    return from_lane<T>(one_nan((1.0f - beta) * to_lane(sample) + beta * to_lane(partner)));
  }
}

// The arguments of frame_stack(). Outputs are contiguous.
struct FrameStack {
  StackPlan plan;
  Clips features;
  DType dtype;
  std::int64_t frame_bytes;
  Grid targets;  // (samples, classes); null data: beta is given and no labels are mixed
  Column rap;    // (classes,)
  std::int64_t classes;
  ScoreRule rule;
  Column given_beta;            // (samples,) of float32, or null data
  float constant_beta = -1.0f;  // of every sample; outside [0, 1]: given_beta or the labels decide
  std::byte* out_features;      // (samples, clip_length, D)
  std::byte* out_targets;       // (samples, classes) of MixedOf<type of targets>
  float* out_beta;              // (samples,)
  std::int64_t* out_partner;    // (samples,): partner_of each, for the gradient; or null

  VLTR_HD bool has_beta() const { return given_beta.data != nullptr || is_share(constant_beta); }

  // Needs has_beta().
  VLTR_HD float beta_of(std::int64_t sample) const {
    return given_beta.data != nullptr ? load_element<float>(given_beta.at(sample)) : constant_beta;
  }
};

// The arguments of frame_stack_gradient(): the gradient of `features` from the gradient of frame_stack's output.
struct FrameStackGradient {
  StackPlan plan;
  Clips gradient;  // (samples, clip_length, D)
  DType dtype;
  std::int64_t dims;  // D
  Column beta;        // (samples,) of float32, as frame_stack gave it
  std::byte* out;     // (samples, frames, D)

  // False for samples whose output in frame_stack was NaN: without a partner or a valid beta.
  VLTR_HD bool takes_part(std::int64_t sample) const { return plan.partner_of(sample) >= 0 && is_share(share(sample)); }

  VLTR_HD float share(std::int64_t sample) const {
    return sample < plan.mixed ? load_element<float>(beta.at(sample)) : 0.0f;
  }

  // Calls add(slot), ascending, for each slot in the clip of sample `taker` that holds frame `frame` of sample
  // `source`. Needs takes_part(taker).
  template <class Function>
  VLTR_HD void for_each_slot(std::int64_t taker, std::int64_t source, std::uint32_t frame, const Function& add) const {
    const std::uint32_t partners = partner_frames(share(taker), plan.clip_length);
    for (int which = 0; which < 2; ++which) {
      const StackPart part = stack_part(plan, partners, which);
      if ((part.of_partner ? plan.partner_of(taker) : taker) != source) continue;
      const std::uint32_t end = first_spread_at(frame + 1, part.count, plan.frames);
      for (std::uint32_t k = first_spread_at(frame, part.count, plan.frames); k < end; ++k) add(part.first_slot + k);
    }
  }
};

// Frames of a flat store: video v has rows offsets[v] .. offsets[v + 1] - 1.

struct FrameGather {
  const std::byte* store;  // (frames, D)
  std::int64_t frame_stride;
  DType dtype;
  std::int64_t frame_bytes;
  std::int64_t frames;  // F
  Column offsets;       // (num_videos + 1,)
  std::int64_t num_videos;
  Column videos;  // (samples,)
  Grid picks;     // (samples, num_picks): frames of the video
  std::int64_t samples;
  std::int64_t num_picks;
  DType out_dtype;
  std::byte* out;  // (samples, num_picks, D)

  VLTR_HD const std::byte* frame(std::int64_t row) const { return store + row * frame_stride; }
};

struct FrameRange {
  std::int64_t begin;
  std::int64_t end;
};

// The rows of a video. The video must exist; the caller checks the range with in_store().
VLTR_HD FrameRange frames_of(const FrameGather& gather, std::int64_t video) {
  return {index_at(gather.offsets.at(video), gather.offsets.dtype),
          index_at(gather.offsets.at(video + 1), gather.offsets.dtype)};
}
VLTR_HD bool in_store(const FrameGather& gather, FrameRange range) {
  return range.begin >= 0 && range.begin <= range.end && range.end <= gather.frames;
}

// The store's row for a pick, or -1 if the video or the frame does not exist.
VLTR_HD std::int64_t picked_row(const FrameGather& gather, std::int64_t sample, std::int64_t pick) {
  const std::int64_t video = index_at(gather.videos.at(sample), gather.videos.dtype);
  if (video < 0 || video >= gather.num_videos) return -1;
  const FrameRange range = frames_of(gather, video);
  const std::int64_t frame = index_at(gather.picks.at(sample, pick), gather.picks.dtype);
  return in_store(gather, range) && frame >= 0 && frame < range.end - range.begin ? range.begin + frame : -1;
}

// Draws. A word depends on (seed; sample, epoch, purpose, its number) alone.

enum class Purpose : std::uint32_t { kFrames = 1, kDistinctFrames, kMaskSize, kMaskFrames };

// Blocks of four words for each purpose.
constexpr std::uint32_t kDrawBlocks = 1u << 24;

struct DrawKey {
  std::uint64_t seed;
  std::uint64_t sample;
  std::uint32_t epoch;
};

VLTR_HD Philox draw_block(const DrawKey& key, Purpose purpose, std::uint32_t block) {
  return philox4x32(
      {{static_cast<std::uint32_t>(key.sample), key.epoch, static_cast<std::uint32_t>(purpose) * kDrawBlocks + block,
        static_cast<std::uint32_t>(key.sample >> 32)}},
      static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32));
}

// A number in [0, bound): the high half of the product of a word and the bound.
VLTR_HD std::uint32_t draw_below(const DrawKey& key, Purpose purpose, std::uint32_t number, std::uint32_t bound) {
  const std::uint32_t word = draw_block(key, purpose, number / 4).word[number % 4];
  return static_cast<std::uint32_t>((std::uint64_t{word} * bound) >> 32);
}

// Makes permutation `number` of a sample in `permutation`, which is shared memory on a device: all
// threads read its keys.
VLTR_HD void set_frame_permutation(KeyedPermutation& permutation, const DrawKey& key, Purpose purpose,
                                   std::uint32_t number, std::uint32_t size) {
  permutation = permutation_grid(size);
  for (std::uint32_t block = 0; 4 * block < static_cast<std::uint32_t>(permutation.rounds); ++block) {
    const Philox random = draw_block(key, purpose, number * (kMostDrawRounds / 4) + block);
    for (std::uint32_t lane = 0; lane < 4; ++lane) permutation.round_key[4 * block + lane] = random.word[lane];
  }
}

// Sampling frames of videos.

enum class SampleMode : int { kUniform, kWithReplacement, kDistinct };

struct FrameSample {
  Column lengths;  // (samples,): frames of each video
  Column ids;      // (samples,) of 64-bit integers; null data: the id of a sample is its row
  std::int64_t samples;
  std::uint32_t num_frames;
  SampleMode mode;
  std::uint64_t seed;
  std::uint32_t epoch;
  std::int64_t* out;  // (samples, num_frames), each row ascending
};

VLTR_HD bool is_length(std::int64_t length) { return length >= 1 && length <= kMaxRows; }

VLTR_HD DrawKey draw_key(std::uint64_t seed, const Column& ids, std::int64_t sample, std::uint32_t epoch) {
  const std::int64_t id = ids.data == nullptr ? sample : index_at(ids.at(sample), ids.dtype);
  return {seed, static_cast<std::uint64_t>(id), epoch};
}

// The k-th drawn frame, before sorting. If more frames are drawn than the video has, every frame is taken equally often
// as far as possible, and the remaining draws are distinct.
VLTR_HD std::uint32_t drawn_frame(const FrameSample& request, const DrawKey& key, const KeyedPermutation& permutation,
                                  std::uint32_t length, std::uint32_t k) {
  if (request.mode == SampleMode::kWithReplacement) return draw_below(key, Purpose::kFrames, k, length);
  const std::uint32_t in_whole_turns = request.num_frames / length * length;
  return k < in_whole_turns ? k % length : permute(permutation, k - in_whole_turns);
}

// The dynamic frame sampler.

struct FrameMasks {
  Grid targets;   // (samples, classes)
  Column bounds;  // (classes,): fewest frames of a class
  std::int64_t classes;
  Column ids;  // as in FrameSample
  std::int64_t samples;
  std::uint32_t num_frames;  // T
  std::uint32_t num_masks;
  std::uint64_t seed;
  std::uint32_t epoch;
  std::byte* out;  // (samples, num_masks, num_frames): 1 for a chosen frame
};

// m: the mean bound of the labels, rounded down and clamped to [1, T]. 1 if it is NaN or the sample has no label.
VLTR_HD std::uint32_t fewest_frames(LabelSum sum, std::uint32_t num_frames) {
  const double mean = label_score(LabelRule::kMean, sum);
  if (mean >= static_cast<double>(num_frames)) return num_frames;
  return mean >= 1 ? static_cast<std::uint32_t>(mean) : 1;
}

// n, drawn from [fewest, T].
VLTR_HD std::uint32_t mask_size(const FrameMasks& request, const DrawKey& key, std::uint32_t mask,
                                std::uint32_t fewest) {
  return fewest + draw_below(key, Purpose::kMaskSize, mask, request.num_frames - fewest + 1);
}

}  // namespace vltr
