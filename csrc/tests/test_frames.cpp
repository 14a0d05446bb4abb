// Tests of the gathers and draws of vltr_train: conversions against every neighbour, cpu/ against the definitions, and
// cuda/ against cpu/, bit by bit, on the emulator or on a GPU if built for one.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <set>
#include <vector>

#include "core/errors.hpp"
#include "cpu/frames.hpp"
#include "cuda/frames.hpp"
#include "tests/check.hpp"

namespace {

using namespace vltr;
using test::Random;
using test::trying;

using Bytes = std::vector<std::byte>;

// Conversions

constexpr std::uint16_t kHalfInfinity = 0x7C00;
constexpr std::uint16_t kBFloatInfinity = 0x7F80;

template <class T>
void check_round_trips(std::uint16_t infinity) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const T value{static_cast<std::uint16_t>(bits)};
    const bool nan = (bits & 0x7FFFu) > infinity;
    trying = "bits " + std::to_string(bits);
    CHECK(nan == std::isnan(convert<float>(value)) && nan == std::isnan(convert<double>(value)));
    const std::uint16_t by_float = convert<T>(convert<float>(value)).bits;
    const std::uint16_t by_double = convert<T>(convert<double>(value)).bits;
    const auto quiet = static_cast<std::uint16_t>(nan ? bits | ((infinity >> 1) & ~infinity) : bits);
    CHECK(by_float == quiet && by_double == quiet);
    if (!nan) CHECK(convert<double>(value) == static_cast<double>(to_lane(value)));
    if (!nan) CHECK(convert<float>(value) == to_lane(value));
  }
}

// Between two neighbours of a 16-bit type, the middle rounds to the even one and every other value to the nearer one.
// Infinity counts as the next number.
template <class T>
void check_rounding(std::uint16_t infinity) {
  const auto value = [](int bits) { return convert<double>(T{static_cast<std::uint16_t>(bits)}); };
  for (int bits = 0; bits < infinity; ++bits) {
    trying = "bits " + std::to_string(bits);
    const double next = bits + 1 == infinity ? 2 * value(bits) - value(bits - 1) : value(bits + 1);
    const double middle = (value(bits) + next) / 2;
    const int even = bits % 2 == 0 ? bits : bits + 1;
    for (const int sign : {0, 0x8000}) {
      const auto is = [sign](T result, int expected) { return result.bits == (expected | sign); };
      const auto signed_as = [sign](auto magnitude) { return sign == 0 ? magnitude : -magnitude; };
      CHECK(is(convert<T>(signed_as(middle)), even));
      CHECK(is(convert<T>(signed_as(std::nextafter(middle, 0.0))), bits));
      CHECK(is(convert<T>(signed_as(std::nextafter(middle, HUGE_VAL))), bits + 1));
      const auto single = static_cast<float>(middle);
      if (static_cast<double>(single) != middle) continue;  // half of the smallest float
      CHECK(is(convert<T>(signed_as(single)), even));
      CHECK(is(convert<T>(signed_as(std::nextafter(single, 0.0f))), bits));
      CHECK(is(convert<T>(signed_as(std::nextafter(single, HUGE_VALF))), bits + 1));
    }
  }
}

void sixteen_bits_come_back() {
  check_round_trips<Float16>(kHalfInfinity);
  check_round_trips<BFloat16>(kBFloatInfinity);
}

void rounding_is_to_nearest_even() {
  check_rounding<Float16>(kHalfInfinity);
  check_rounding<BFloat16>(kBFloatInfinity);
}

void large_numbers_become_infinite() {
  CHECK(convert<Float16>(65519.99f).bits == 0x7BFF && convert<Float16>(65520.0f).bits == kHalfInfinity);
  CHECK(convert<Float16>(1e300).bits == kHalfInfinity && convert<Float16>(-HUGE_VAL).bits == 0xFC00);
  CHECK(convert<BFloat16>(std::numeric_limits<float>::max()).bits == kBFloatInfinity);
  CHECK(convert<BFloat16>(-1e300).bits == 0xFF80 && convert<float>(1e300) == HUGE_VALF);
  CHECK(convert<Float16>(1e-300).bits == 0 && convert<BFloat16>(-1e-300).bits == 0x8000);
}

void nans_keep_sign_and_payload() {
  CHECK(bit_cast<std::uint32_t>(convert<float>(bit_cast<double>(0xFFF4'0000'2000'0000u))) == 0xFFE0'0001u);
  CHECK(bit_cast<std::uint64_t>(convert<double>(bit_cast<float>(0xFF80'0001u))) == 0xFFF8'0000'2000'0000u);
  CHECK(convert<Float16>(bit_cast<float>(0xFFC0'2000u)).bits == 0xFE01);
  CHECK(convert<BFloat16>(bit_cast<double>(0x7FF0'0000'0000'0001u)).bits == 0x7FC0);
}

void doubles_are_rounded_as_the_processor_rounds() {
  Random random(1);
  for (int i = 0; i < 200000; ++i) {
    const auto value = bit_cast<double>(random.bits() >> 1);
    if (std::isnan(value)) continue;
    CHECK(bit_cast<std::uint32_t>(convert<float>(value)) == bit_cast<std::uint32_t>(static_cast<float>(value)));
  }
}

// Runs an operation on a number of CPU threads, or on the device.

constexpr int kOnDevice = 0;

std::vector<int> all_devices() {
  std::vector<int> devices = {1, 2, 5};
#if defined(VLTR_HAVE_CUDA)
  if (cuda::device_count() > 0) devices.push_back(kOnDevice);
#endif
  return devices;
}

class Where {
 public:
  explicit Where(int threads) : threads_(threads) {}

  // A copy for the operation, input or output, in CPU or device memory.
  std::byte* put(const Bytes& bytes) {
#if defined(VLTR_HAVE_CUDA)
    if (threads_ == kOnDevice) return arrays_.emplace_back(kStream, bytes).data();
#endif
    return copies_.emplace_back(bytes).data();
  }
  // The content of the n-th copy.
  Bytes get(std::size_t n) const {
#if defined(VLTR_HAVE_CUDA)
    if (threads_ == kOnDevice) return arrays_[n].to_host();
#endif
    return copies_[n];
  }
  // The second function is generic, so a build without CUDA does not compile it.
  template <class OnCpu, class OnDevice>
  void run(const OnCpu& on_cpu, [[maybe_unused]] const OnDevice& on_device) const {
#if defined(VLTR_HAVE_CUDA)
    if (threads_ == kOnDevice) return on_device(kStream);
#endif
    cpu::Runner runner;
    runner.threads = threads_;
    on_cpu(runner);
  }

 private:
  int threads_;
  std::deque<Bytes> copies_;
#if defined(VLTR_HAVE_CUDA)
  static constexpr cuda::Stream kStream{0, 1};
  std::deque<cuda::DeviceArray<std::byte>> arrays_;
#endif
};

template <class T>
Bytes to_bytes(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
void append(Bytes& bytes, const T& value) {
  const auto* const first = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), first, first + sizeof(T));
}

template <class T>
std::vector<T> from_bytes(const Bytes& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::int64_t bytes_of(DType dtype) {
  return with_element_type(dtype,
                           [](auto tag) { return static_cast<std::int64_t>(sizeof(typename decltype(tag)::type)); });
}

// Numbers that every type can hold, as elements of a type.
Bytes elements(DType dtype, const std::vector<int>& numbers) {
  return with_element_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Bytes bytes;
    for (const int number : numbers) {
      if constexpr (std::is_integral_v<T>) {
        append(bytes, static_cast<T>(number));
      } else {
        append(bytes, convert<T>(static_cast<double>(number)));
      }
    }
    return bytes;
  });
}

constexpr DType kFloats[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

// FrameStack

struct StackCase {
  std::int64_t samples, mixed, dims, classes;
  std::uint32_t frames, clip_length;
  DType dtype, target_dtype, partner_dtype;
  ScoreRule rule;
  bool partner_first;
  std::size_t skew;  // offset in bytes of features from a multiple of 16
  std::vector<int> features, targets, partner;
  std::vector<double> rap;  // multiples of 1/64: their sums are exact in any order
  bool given_beta;
  bool constant_beta;  // given as one number
  std::vector<float> beta;

  explicit StackCase(Random& random) {
    samples = 1 + random.below(6);
    mixed = random.below(3) == 0 ? random.below(static_cast<int>(samples) + 1) : samples;
    frames = 1 + static_cast<std::uint32_t>(random.below(9));
    clip_length = mixed < samples ? frames : 1 + static_cast<std::uint32_t>(random.below(14));
    dtype = kFloats[random.below(4)];
    const int widths[] = {1, 3, 8, 16, 100, 1030};
    dims = widths[random.below(6)];
    skew = random.below(3) == 0 ? static_cast<std::size_t>(bytes_of(dtype)) : 0;
    classes = 1 + random.below(random.below(4) == 0 ? 2300 : 140);
    target_dtype = static_cast<DType>(random.below(13));
    const DType indices[] = {DType::kUInt8, DType::kInt16, DType::kUInt32,
                             DType::kInt32, DType::kInt64, DType::kUInt64};
    partner_dtype = indices[random.below(6)];
    rule = {static_cast<LabelRule>(random.below(3)), random.below(2) == 0};
    partner_first = random.below(2) == 0;
    given_beta = random.below(4) == 0;
    for (std::int64_t i = 0; i < samples; ++i) {
      partner.push_back(i < mixed ? random.below(static_cast<int>(mixed)) : 99);
      const float shares[] = {0.0f, 1.0f, 0.5f, 0.9983f, 1.0f / 3};
      beta.push_back(shares[random.below(5)]);
    }
    constant_beta = given_beta && random.below(2) == 0;
    if (constant_beta) std::fill(beta.begin(), beta.end(), beta[0]);
    for (std::int64_t i = 0; i < samples * frames * dims; ++i) features.push_back(random.below(100));
    for (std::int64_t i = 0; i < samples * classes; ++i) targets.push_back(random.below(20) == 0 ? 1 : 0);
    for (std::int64_t c = 0; c < classes; ++c) rap.push_back(random.below(9) == 0 ? 0 : random.below(64) / 64.0);
  }

  StackPlan plan(Where& where) const {
    return {samples,
            mixed,
            frames,
            clip_length,
            {where.put(elements(partner_dtype, partner)), bytes_of(partner_dtype), partner_dtype},
            partner_first};
  }
  DType mixed_dtype() const { return target_dtype < DType::kFloat16 ? DType::kFloat32 : target_dtype; }
  std::size_t clip_bytes() const { return static_cast<std::size_t>(samples * clip_length * dims * bytes_of(dtype)); }
};

struct Stacked {
  Bytes features, targets, beta, partner;
  bool operator==(const Stacked& other) const {
    return features == other.features && targets == other.targets && beta == other.beta && partner == other.partner;
  }
};

Stacked stack(const StackCase& c, int threads) {
  Where where(threads);
  const std::int64_t size = bytes_of(c.dtype);
  Bytes features(c.skew);
  const Bytes values = elements(c.dtype, c.features);
  features.insert(features.end(), values.begin(), values.end());
  FrameStack request{};
  request.out_features = where.put(Bytes(c.clip_bytes()));
  request.out_targets = where.put(Bytes(static_cast<std::size_t>(c.samples * c.classes * bytes_of(c.mixed_dtype()))));
  request.out_beta = reinterpret_cast<float*>(where.put(Bytes(static_cast<std::size_t>(c.samples) * 4)));
  request.out_partner = reinterpret_cast<std::int64_t*>(where.put(Bytes(static_cast<std::size_t>(c.samples) * 8)));
  request.plan = c.plan(where);
  request.features = {where.put(features) + c.skew, c.frames * c.dims * size, c.dims * size};
  request.dtype = c.dtype;
  request.frame_bytes = c.dims * size;
  const std::int64_t target_size = bytes_of(c.target_dtype);
  request.targets = {where.put(elements(c.target_dtype, c.targets)), c.classes * target_size, target_size,
                     c.target_dtype};
  request.rap = {where.put(to_bytes(c.rap)), 8, DType::kFloat64};
  request.classes = c.classes;
  request.rule = c.rule;
  if (c.constant_beta) {
    request.constant_beta = c.beta[0];
  } else if (c.given_beta) {
    request.given_beta = {where.put(to_bytes(c.beta)), 4, DType::kFloat32};
  }
  where.run([&](const cpu::Runner& runner) { cpu::frame_stack(request, runner); },
            [&](const auto& stream) { cuda::frame_stack(request, stream); });
  return {where.get(0), where.get(1), where.get(2), where.get(3)};
}

// The definition; it shares only float arithmetic with the implementation.
float expected_beta(const StackCase& c, std::size_t sample) {
  if (c.given_beta) return c.beta[sample];
  const auto score = [&](std::size_t row) {
    double sum = 0, count = 0, least = 1;
    for (std::size_t k = 0; k < static_cast<std::size_t>(c.classes); ++k) {
      if (c.targets[row * static_cast<std::size_t>(c.classes) + k] == 0) continue;
      sum += c.rap[k];
      count += 1;
      least = std::min(least, c.rap[k]);
    }
    if (count == 0) return 0.0f;
    const double value = c.rule.labels == LabelRule::kSum    ? sum
                         : c.rule.labels == LabelRule::kMean ? sum / count
                                                             : least;
    return c.rule.per_class ? static_cast<float>(value) / static_cast<float>(c.classes) : static_cast<float>(value);
  };
  const float sample_score = score(sample);
  const float both = sample_score + score(c.partner[sample]);
  return both < 1e-5f ? 0.5f : sample_score / both;
}

// Frame k of `count` frames spread over `frames`: the last frame at or before the exact position.
std::uint32_t expected_frame(std::uint32_t k, std::uint32_t count, std::uint32_t frames) {
  std::uint32_t frame = 0;
  while (count > 1 && (frame + 1) * (count - 1) <= k * (frames - 1)) ++frame;
  return frame;
}

// The (sample, frame) of each slot of a sample's clip.
std::vector<std::pair<std::size_t, std::uint32_t>> expected_slots(const StackCase& c, std::size_t sample, float beta) {
  const auto from_partner = static_cast<std::uint32_t>(std::floor(beta * static_cast<float>(c.clip_length)));
  std::vector<std::pair<std::size_t, std::uint32_t>> sample_slots, partner_slots;
  for (std::uint32_t k = 0; k < from_partner; ++k) {
    partner_slots.emplace_back(static_cast<std::size_t>(c.partner[sample]), expected_frame(k, from_partner, c.frames));
  }
  const std::uint32_t from_sample = c.clip_length - from_partner;
  for (std::uint32_t k = 0; k < from_sample; ++k)
    sample_slots.emplace_back(sample, expected_frame(k, from_sample, c.frames));
  auto& first = c.partner_first ? partner_slots : sample_slots;
  const auto& second = c.partner_first ? sample_slots : partner_slots;
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Stacked expected_stack(const StackCase& c) {
  Stacked expected;
  const auto frame_size = static_cast<std::size_t>(c.dims * bytes_of(c.dtype));
  const Bytes features = elements(c.dtype, c.features);
  std::vector<float> betas;
  std::vector<std::int64_t> partners;
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.samples); ++i) {
    const bool is_mixed = static_cast<std::int64_t>(i) < c.mixed;
    const float beta = is_mixed ? expected_beta(c, i) : 0.0f;
    betas.push_back(beta);
    for (const auto& [row, frame] : expected_slots(c, i, beta)) {
      const auto start = features.begin() + static_cast<std::ptrdiff_t>((row * c.frames + frame) * frame_size);
      expected.features.insert(expected.features.end(), start, start + static_cast<std::ptrdiff_t>(frame_size));
    }
    const auto classes = static_cast<std::size_t>(c.classes);
    const std::size_t partner = is_mixed ? static_cast<std::size_t>(c.partner[i]) : i;
    partners.push_back(static_cast<std::int64_t>(partner));
    for (std::size_t k = 0; k < classes; ++k) {
      const int label = c.targets[i * classes + k];
      const int partner_label = c.targets[partner * classes + k];
      with_element_type(c.mixed_dtype(), [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_same_v<T, double>) {
          const double share = static_cast<double>(beta);
          append(expected.targets, (1 - share) * label + share * partner_label);
        } else if constexpr (!std::is_integral_v<T>) {
          append(expected.targets,
                 convert<T>((1 - beta) * static_cast<float>(label) + beta * static_cast<float>(partner_label)));
        }
      });
    }
  }
  expected.beta = to_bytes(betas);
  expected.partner = to_bytes(partners);
  return expected;
}

void clips_are_stacked_as_defined() {
  Random random(2);
  for (int i = 0; i < 60; ++i) {
    const StackCase c(random);
    const Stacked expected = expected_stack(c);
    for (const int device : all_devices()) {
      trying = "case " + std::to_string(i) + " device " + std::to_string(device);
      const Stacked got = stack(c, device);
      CHECK(got.beta == expected.beta);
      CHECK(got.partner == expected.partner);
      CHECK(got.features == expected.features);
      CHECK(got.targets == expected.targets);
    }
  }
}

void published_example_is_met() {
  // The sample's labels have running AP .2 and .4, the partner's label .001; L = 60.
  const float sample_score = 0.6f / 1004;
  const float beta = stack_beta(sample_score, 0.001f / 1004);
  CHECK(std::abs(beta - 0.99834f) < 1e-5f && partner_frames(beta, 60) == 59);
  CHECK(stack_beta(0, 0) == 0.5f && partner_frames(0.5f, 60) == 30);
  CHECK(stack_beta(0.9e-5f, 0) == 0.5f && stack_beta(1.1e-5f, 0) == 1.0f);
  CHECK(stack_beta(NAN, 1) == 0.5f && stack_beta(HUGE_VALF, 1) == 0.5f && stack_beta(2, -1) == 0.5f);
  for (std::uint32_t k = 0; k < 7; ++k) CHECK(spread_frame(k, 7u, 60u) == (k == 0 ? 0 : 10 * k - 1));
  CHECK(spread_frame(0u, 1u, 60u) == 0 && spread_frame(1u, 2u, 60u) == 59 && spread_frame(1u, 3u, 60u) == 29);
  for (std::int64_t k = 0; k < 150; ++k) CHECK(spread_frame<std::int64_t>(k, 150, 100) == k * 99 / 149);
}

void spread_frames_and_their_inverse_agree() {
  for (std::uint32_t frames = 1; frames < 20; ++frames) {
    for (std::uint32_t count = 0; count < 30; ++count) {
      for (std::uint32_t k = 0; k < count; ++k) {
        const std::uint32_t frame = spread_frame(k, count, frames);
        CHECK(frame == expected_frame(k, count, frames) && frame < frames);
        CHECK(first_spread_at(frame, count, frames) <= k && k < first_spread_at(frame + 1, count, frames));
      }
      CHECK(first_spread_at(frames, count, frames) == count);
    }
  }
  const std::uint32_t most = kMostClipFrames;
  CHECK(spread_frame(most - 1, most, most) == most - 1 && first_spread_at(most, most, most) == most);
}

void bad_partners_and_betas_are_found() {
  Random random(3);
  StackCase c(random);
  c.partner_dtype = DType::kInt64;
  c.mixed = c.samples = 1 + c.samples;  // one more sample, whose labels and frames are not read
  c.partner.assign(c.samples, 0);
  c.beta.assign(c.samples, 0.5f);
  c.features.resize(c.samples * c.frames * c.dims);
  c.targets.resize(c.samples * c.classes);
  for (const int bad : {-1, static_cast<int>(c.mixed), 1 << 30}) {
    c.partner.back() = bad;
    CHECK_THROWS(BadValue, stack(c, 2));
    if (all_devices().back() != kOnDevice) continue;
    const Stacked spoilt = stack(c, kOnDevice);
    const auto beta = from_bytes<float>(spoilt.beta);
    CHECK(std::isnan(beta.back()) && !std::isnan(beta.front()));
    const Bytes pattern = to_bytes(std::vector<std::uint64_t>{nan_pattern(c.dtype)});
    const auto size = static_cast<std::size_t>(bytes_of(c.dtype));
    const std::size_t clip = spoilt.features.size() / static_cast<std::size_t>(c.samples);
    for (std::size_t i = 0; i < clip; ++i) {
      CHECK(spoilt.features[spoilt.features.size() - clip + i] == pattern[i % size]);
    }
  }
  c.partner.back() = 0;
  c.given_beta = true;
  c.constant_beta = false;
  for (const float bad : {-0.1f, 1.1f, NAN}) {
    c.beta.back() = bad;
    CHECK_THROWS(BadValue, stack(c, 2));
    if (all_devices().back() == kOnDevice) CHECK(std::isnan(from_bytes<float>(stack(c, kOnDevice).beta).back()));
  }
}

Bytes gradient(const StackCase& c, const std::vector<int>& slopes, const Bytes& beta, int threads) {
  Where where(threads);
  const std::int64_t size = bytes_of(c.dtype);
  FrameStackGradient request{};
  request.out = where.put(Bytes(static_cast<std::size_t>(c.samples * c.frames * c.dims * size)));
  request.plan = c.plan(where);
  Bytes bytes(c.skew);
  const Bytes values = elements(c.dtype, slopes);
  bytes.insert(bytes.end(), values.begin(), values.end());
  request.gradient = {where.put(bytes) + c.skew, c.clip_length * c.dims * size, c.dims * size};
  request.dtype = c.dtype;
  request.dims = c.dims;
  request.beta = {where.put(beta), 4, DType::kFloat32};
  where.run([&](const cpu::Runner& runner) { cpu::frame_stack_gradient(request, runner); },
            [&](const auto& stream) { cuda::frame_stack_gradient(request, stream); });
  return where.get(0);
}

void gradients_go_back_where_frames_came_from() {
  Random random(4);
  for (int i = 0; i < 60; ++i) {
    const StackCase c(random);
    std::vector<int> slopes(c.samples * c.clip_length * c.dims);
    for (int& slope : slopes) slope = random.below(9) - 4;
    const Bytes beta = stack(c, 1).beta;
    std::vector<int> sums(c.features.size());
    for (std::size_t sample = 0; sample < static_cast<std::size_t>(c.samples); ++sample) {
      const auto slots = expected_slots(c, sample, from_bytes<float>(beta)[sample]);
      for (std::size_t slot = 0; slot < slots.size(); ++slot) {
        for (std::size_t d = 0; d < static_cast<std::size_t>(c.dims); ++d) {
          const auto& [row, frame] = slots[slot];
          sums[(row * c.frames + frame) * static_cast<std::size_t>(c.dims) + d] +=
              slopes[(sample * c.clip_length + slot) * static_cast<std::size_t>(c.dims) + d];
        }
      }
    }
    for (const int device : all_devices()) {
      trying = "case " + std::to_string(i) + " device " + std::to_string(device);
      CHECK(gradient(c, slopes, beta, device) == elements(c.dtype, sums));
    }
  }
}

// Gathers

Bytes gather(DType from, DType to, std::int64_t dims, const std::vector<std::int64_t>& offsets,
             const std::vector<std::int32_t>& videos, const std::vector<std::int64_t>& picks, const Bytes& store,
             int threads) {
  Where where(threads);
  FrameGather request{};
  request.out = where.put(Bytes(picks.size() * static_cast<std::size_t>(dims * bytes_of(to))));
  request.store = where.put(store);
  request.frame_bytes = request.frame_stride = dims * bytes_of(from);
  request.dtype = from;
  request.frames = static_cast<std::int64_t>(store.size()) / request.frame_bytes;
  request.offsets = {where.put(to_bytes(offsets)), 8, DType::kInt64};
  request.num_videos = static_cast<std::int64_t>(offsets.size()) - 1;
  request.videos = {where.put(to_bytes(videos)), 4, DType::kInt32};
  request.samples = static_cast<std::int64_t>(videos.size());
  request.num_picks = static_cast<std::int64_t>(picks.size() / videos.size());
  request.picks = {where.put(to_bytes(picks)), 8 * request.num_picks, 8, DType::kInt64};
  request.out_dtype = to;
  where.run([&](const cpu::Runner& runner) { cpu::gather_frames(request, runner); },
            [&](const auto& stream) { cuda::gather_frames(request, stream); });
  return where.get(0);
}

// A store of random bits has every kind of number. Every device gives the results of convert().
void frames_are_gathered_and_converted() {
  Random random(5);
  const std::vector<std::int64_t> offsets = {0, 5, 5, 12, 20};
  const std::vector<std::int32_t> videos = {3, 0, 2, 0};
  for (const DType from : kFloats) {
    for (const DType to : kFloats) {
      for (const std::int64_t dims : {1, 7, 64, 1000}) {
        Bytes store(static_cast<std::size_t>(20 * dims * bytes_of(from)));
        for (std::byte& byte : store) byte = static_cast<std::byte>(random.bits());
        std::vector<std::int64_t> picks;
        Bytes expected;
        for (const std::int32_t video : videos) {
          const auto v = static_cast<std::size_t>(video);
          for (int k = 0; k < 3; ++k) {
            picks.push_back(random.below(static_cast<int>(offsets[v + 1] - offsets[v])));
            with_element_type(from, [&](auto from_tag) {
              with_element_type(to, [&](auto to_tag) {
                using T = typename decltype(from_tag)::type;
                using U = typename decltype(to_tag)::type;
                if constexpr (!std::is_integral_v<T> && !std::is_integral_v<U>) {
                  for (std::int64_t d = 0; d < dims; ++d) {
                    const std::int64_t at = ((offsets[v] + picks.back()) * dims + d) * bytes_of(from);
                    append(expected, convert<U>(load_element<T>(store.data() + at)));
                  }
                }
              });
            });
          }
        }
        for (const int device : all_devices()) {
          trying = std::to_string(static_cast<int>(from)) + " to " + std::to_string(static_cast<int>(to)) + ", " +
                   std::to_string(dims) + " wide, device " + std::to_string(device);
          CHECK(gather(from, to, dims, offsets, videos, picks, store, device) == expected);
        }
      }
    }
  }
}

void frames_that_are_not_there_are_found() {
  const Bytes store = elements(DType::kFloat16, {1, 2, 3, 4});
  const auto run = [&](const std::vector<std::int64_t>& offsets, std::int32_t video, std::int64_t pick, int device) {
    return gather(DType::kFloat16, DType::kFloat32, 1, offsets, {0, video}, {0, pick}, store, device);
  };
  const std::vector<std::int64_t> good = {0, 2, 4};
  CHECK(run(good, 1, 1, 1) == to_bytes(std::vector<float>{1, 4}));
  struct {
    std::vector<std::int64_t> offsets;
    std::int32_t video;
    std::int64_t pick;
    const char* what;
  } const bad[] = {{good, 2, 0, "videos"},
                   {good, -1, 0, "videos"},
                   {good, 1, 2, "frame_indices"},
                   {good, 1, -1, "frame_indices"},
                   {{0, 2, 5}, 1, 0, "offsets"},
                   {{0, 2, 1}, 1, 0, "offsets"},
                   {{0, 1, 1}, 1, 0, "frame_indices"}};
  for (const auto& c : bad) {
    try {
      run(c.offsets, c.video, c.pick, 2);
      CHECK(false);
    } catch (const BadValue& error) {
      CHECK(std::string(error.what()) == c.what && error.row == 1);
    }
    if (all_devices().back() != kOnDevice) continue;
    const auto got = from_bytes<float>(run(c.offsets, c.video, c.pick, kOnDevice));
    CHECK(got[0] == 1 && std::isnan(got[1]));
  }
}

// Draws

std::vector<std::int64_t> sample(const std::vector<std::int64_t>& lengths, std::uint32_t count, SampleMode mode,
                                 std::uint64_t seed, std::uint32_t epoch, const std::vector<std::int64_t>& ids,
                                 int threads) {
  Where where(threads);
  FrameSample request{};
  request.out = reinterpret_cast<std::int64_t*>(where.put(Bytes(lengths.size() * count * 8)));
  request.lengths = {where.put(to_bytes(lengths)), 8, DType::kInt64};
  if (!ids.empty()) request.ids = {where.put(to_bytes(ids)), 8, DType::kInt64};
  request.samples = static_cast<std::int64_t>(lengths.size());
  request.num_frames = count;
  request.mode = mode;
  request.seed = seed;
  request.epoch = epoch;
  where.run([&](const cpu::Runner& runner) { cpu::sample_frames(request, runner); },
            [&](const auto& stream) { cuda::sample_frames(request, stream); });
  return from_bytes<std::int64_t>(where.get(0));
}

// Published runs depend on these numbers, so no version may change them.
void drawn_frames_never_change() {
  for (const int device : all_devices()) {
    trying = "device " + std::to_string(device);
    const auto drawn = [&](SampleMode mode, std::uint64_t seed, std::uint32_t epoch, std::int64_t id) {
      return sample({150}, 6, mode, seed, epoch, {id}, device);
    };
    using Frames = std::vector<std::int64_t>;
    CHECK(drawn(SampleMode::kWithReplacement, 0, 0, 0) == Frames({0, 10, 37, 55, 63, 71}));
    CHECK(drawn(SampleMode::kWithReplacement, 0xFEDCBA9876543210u, 7, -1) == Frames({27, 27, 58, 101, 109, 118}));
    CHECK(drawn(SampleMode::kDistinct, 0, 0, 0) == Frames({35, 44, 47, 73, 75, 81}));
    CHECK(drawn(SampleMode::kDistinct, 0xFEDCBA9876543210u, 7, 1LL << 40) == Frames({25, 32, 70, 121, 123, 126}));
    CHECK(sample({4}, 6, SampleMode::kDistinct, 5, 0, {}, device) == Frames({0, 1, 1, 2, 2, 3}));
    CHECK(sample({7}, 4, SampleMode::kUniform, 0, 0, {}, device) == Frames({0, 2, 4, 6}));
  }
}

void drawn_frames_do_not_depend_on_the_batch() {
  for (const SampleMode mode : {SampleMode::kWithReplacement, SampleMode::kDistinct, SampleMode::kUniform}) {
    const std::vector<std::int64_t> lengths = {1, 2, 59, 60, 61, 1000, 4294967295};
    const std::vector<std::int64_t> ids = {5, 4, 9, 1, 1, 0, 77};
    const std::vector<std::int64_t> all = sample(lengths, 60, mode, 3, 2, ids, 1);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const auto row = all.begin() + static_cast<std::ptrdiff_t>(60 * i);
      const std::vector<std::int64_t> drawn_frames(row, row + 60);
      for (const int device : all_devices()) {
        trying = "row " + std::to_string(i) + " device " + std::to_string(device);
        CHECK(sample({lengths[i]}, 60, mode, 3, 2, {ids[i]}, device) == drawn_frames);
      }
      CHECK(std::is_sorted(drawn_frames.begin(), drawn_frames.end()) && drawn_frames.front() >= 0 &&
            drawn_frames.back() < lengths[i]);
      if (mode == SampleMode::kWithReplacement) continue;
      const auto distinct =
          static_cast<std::int64_t>(std::set<std::int64_t>(drawn_frames.begin(), drawn_frames.end()).size());
      CHECK(distinct == std::min<std::int64_t>(60, lengths[i]));
    }
  }
}

// More draws than a block of the device holds in shared memory.
void many_frames_are_sorted() {
  for (const SampleMode mode : {SampleMode::kWithReplacement, SampleMode::kDistinct}) {
    const auto expected = sample({700, 5000}, 2500, mode, 1, 0, {}, 1);
    for (const int device : all_devices()) CHECK(sample({700, 5000}, 2500, mode, 1, 0, {}, device) == expected);
  }
}

void videos_without_frames_are_found() {
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-3}, std::int64_t{1} << 32}) {
    CHECK_THROWS(BadValue, sample({5, bad}, 3, SampleMode::kUniform, 0, 0, {}, 1));
    if (all_devices().back() != kOnDevice) continue;
    const auto got = sample({1, bad}, 3, SampleMode::kWithReplacement, 0, 0, {}, kOnDevice);
    CHECK(got == std::vector<std::int64_t>({0, 0, 0, -1, -1, -1}));
  }
}

Bytes masks(DType dtype, const std::vector<int>& targets, const std::vector<double>& bounds, std::uint32_t num_frames,
            std::uint32_t num_masks, std::uint64_t seed, int threads) {
  Where where(threads);
  FrameMasks request{};
  const auto classes = static_cast<std::int64_t>(bounds.size());
  request.samples = static_cast<std::int64_t>(targets.size()) / classes;
  request.out = where.put(Bytes(static_cast<std::size_t>(request.samples) * num_masks * num_frames));
  request.targets = {where.put(elements(dtype, targets)), classes * bytes_of(dtype), bytes_of(dtype), dtype};
  request.bounds = {where.put(to_bytes(bounds)), 8, DType::kFloat64};
  request.classes = classes;
  request.num_frames = num_frames;
  request.num_masks = num_masks;
  request.seed = seed;
  where.run([&](const cpu::Runner& runner) { cpu::dynamic_frame_masks(request, runner); },
            [&](const auto& stream) { cuda::dynamic_frame_masks(request, stream); });
  return where.get(0);
}

void masks_keep_as_many_frames_as_labels_ask() {
  const std::vector<int> targets = {1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const std::vector<double> bounds = {10.5, 61, 3, NAN};  // only the last sample has the last class
  const std::uint32_t fewest[] = {10, 60, 35, 1, 1};
  const Bytes expected = masks(DType::kBool, targets, bounds, 60, 300, 8, 1);
  for (int s = 0; s < 5; ++s) {
    std::set<std::int64_t> sizes;
    for (int m = 0; m < 300; ++m) {
      const auto row = expected.begin() + (s * 300 + m) * 60;
      sizes.insert(std::count(row, row + 60, std::byte{1}));
      CHECK(std::count(row, row + 60, std::byte{0}) == 60 - std::count(row, row + 60, std::byte{1}));
    }
    trying = "sample " + std::to_string(s);
    CHECK(*sizes.begin() >= fewest[s] && *sizes.rbegin() <= 60);
    CHECK(sizes.size() > (61 - fewest[s]) * 9 / 10);  // nearly all allowed sizes
  }
  for (const int device : all_devices()) {
    for (const DType dtype : {DType::kBool, DType::kInt64, DType::kFloat16}) {
      trying = "device " + std::to_string(device);
      CHECK(masks(dtype, targets, bounds, 60, 300, 8, device) == expected);
    }
    CHECK(masks(DType::kUInt8, {1}, {2}, 8, 2, 0, device) ==
          to_bytes(std::vector<std::uint8_t>{1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1}));
    CHECK(masks(DType::kUInt8, {1}, {2}, 1, 3, 0, device) == Bytes(3, std::byte{1}));
  }
}

}  // namespace

int main() {
#if defined(VLTR_HAVE_CUDA)
  if (cuda::device_count() == 0) std::printf("NOT RUN on a device: %s\n", cuda::why_no_device().c_str());
#endif
  return test::run_tests({
      {"sixteen_bits_come_back", sixteen_bits_come_back},
      {"rounding_is_to_nearest_even", rounding_is_to_nearest_even},
      {"large_numbers_become_infinite", large_numbers_become_infinite},
      {"nans_keep_sign_and_payload", nans_keep_sign_and_payload},
      {"doubles_are_rounded_as_the_processor_rounds", doubles_are_rounded_as_the_processor_rounds},
      {"clips_are_stacked_as_defined", clips_are_stacked_as_defined},
      {"published_example_is_met", published_example_is_met},
      {"spread_frames_and_their_inverse_agree", spread_frames_and_their_inverse_agree},
      {"bad_partners_and_betas_are_found", bad_partners_and_betas_are_found},
      {"gradients_go_back_where_frames_came_from", gradients_go_back_where_frames_came_from},
      {"frames_are_gathered_and_converted", frames_are_gathered_and_converted},
      {"frames_that_are_not_there_are_found", frames_that_are_not_there_are_found},
      {"drawn_frames_never_change", drawn_frames_never_change},
      {"drawn_frames_do_not_depend_on_the_batch", drawn_frames_do_not_depend_on_the_batch},
      {"many_frames_are_sorted", many_frames_are_sorted},
      {"videos_without_frames_are_found", videos_without_frames_are_found},
      {"masks_keep_as_many_frames_as_labels_ask", masks_keep_as_many_frames_as_labels_ask},
  });
}
