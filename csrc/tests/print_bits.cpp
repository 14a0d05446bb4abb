// Prints a checksum of the bits of each result, from fixed inputs. `make test-cpp-aarch64` compares the output of
// x86-64 and of aarch64. VLTR_SIMD selects the instruction set.
#include <cinttypes>
#include <cstdio>

#include "check.hpp"
#include "core/sap_core.hpp"
#include "cpu/frames.hpp"
#include "cpu/product.hpp"
#include "cpu/rank_scan.hpp"
#include "cpu/vlad.hpp"
#include "cpu/weighted_average_precision.hpp"

namespace vltr {
namespace {

constexpr std::int64_t kRows = 3000;
constexpr std::int64_t kClasses = 70;
constexpr int kTrials = 5;

// FNV-1a of the elements' bytes. Array elements have no padding.
template <class T, class Allocator>
void print(const char* name, const std::vector<T, Allocator>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001B3u;
  std::printf("%-28s %016" PRIx64 " of %zu\n", name, hash, values.size());
}

template <class T>
const std::byte* bytes_of(const std::vector<T>& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

// Scores that are exact in every type, many of them equal.
template <class T>
Array<T> random_scores(test::Random& random) {
  Array<T> scores(kRows * kClasses);
  for (T& score : scores) {
    const double value = random.below(4096) / 4096.0;
    if constexpr (std::is_same_v<T, Float16>) {
      score = convert<Float16>(value);
    } else {
      score = static_cast<T>(std::is_integral_v<T> ? value * 4096 : value);
    }
  }
  return scores;
}

template <class T>
void print_evaluation(const char* name, DType dtype, const cpu::Positives& positives) {
  test::Random random(11);
  const Array<T> values = random_scores<T>(random);
  Matrix scores;
  scores.dtype = dtype;
  scores.cols = kClasses;
  constexpr std::int64_t kSize = sizeof(T);
  scores.append(bytes_of(values), kRows, kClasses * kSize, kSize);
  RankScanRequest request;
  request.trials = kTrials;
  request.seed = 9;
  request.ranks = true;
  cpu::Runner runner;
  runner.threads = 2;
  const cpu::RankScanResult result = cpu::rank_scan(scores, positives, request, runner);
  std::printf("%s\n", name);
  const RankTable& table = result.table;
  print("  offset", table.offset);
  std::visit([](const auto& thresholds) { print("  thresholds", thresholds); }, table.thresholds);
  print("  tp", table.tp);
  print("  fp", table.fp);
  print("  tied", table.tied);
  print("  ranks", result.ranks);
  print("  sampled AP", result.trials);
  Array<double> ap, calibrated, auc, expected, chance;
  for (std::int64_t c = 0; c < kClasses; ++c) {
    const std::int64_t* const tp = table.tp.data() + table.offset.first(c);
    const std::int64_t* const fp = table.fp.data() + table.offset.first(c);
    const std::int64_t count = table.offset.length(c);
    const std::int64_t hits = count == 0 ? 0 : tp[count - 1];
    ap.push_back(average_precision(tp, fp, count));
    calibrated.push_back(calibrated_average_precision(tp, fp, count, kRows - hits, 0.25));
    auc.push_back(roc_auc(tp, fp, table.tied.data() + table.offset.first(c), count, kRows - hits));
    expected.push_back(expected_sampled_average_precision(tp, fp, count, kRows - hits));
    chance.push_back(sampled_average_precision_chance(hits, kRows - hits));
  }
  print("  AP", ap);
  print("  calibrated AP", calibrated);
  print("  ROC-AUC", auc);
  print("  expected sampled AP", expected);
  print("  chance", chance);
  Array<double> weights(kRows);
  for (double& weight : weights) weight = random.below(1000) / 7.0;
  print("  weighted AP", cpu::weighted_average_precision(scores, positives, weights.data(), runner));
}

void print_frames() {
  constexpr std::int64_t kSamples = 24;
  constexpr std::uint32_t kFrames = 30;
  constexpr std::int64_t kDims = 17;
  test::Random random(5);
  const cpu::Runner runner;
  Array<float> features(kSamples * kFrames * kDims);
  for (float& feature : features) feature = static_cast<float>(random.below(1 << 20)) * 0x1p-18f - 1.7f;
  Array<float> targets(kSamples * kClasses);
  for (float& target : targets) target = random.below(10) == 0 ? 0.7f : 0.0f;
  Array<float> rap(kClasses);
  for (float& score : rap) score = static_cast<float>(random.below(1000)) / 999.0f;
  Array<std::int64_t> partner(kSamples);
  for (std::int64_t& sample : partner) sample = random.below(kSamples);
  Array<float> out_features(features.count());
  Array<float> out_targets(targets.count());
  Array<float> out_beta(kSamples);
  FrameStack stack{};
  stack.plan = {kSamples, kSamples, kFrames, kFrames, {bytes_of(partner), 8, DType::kInt64}, true};
  stack.features = {bytes_of(features), 4 * kFrames * kDims, 4 * kDims};
  stack.dtype = DType::kFloat32;
  stack.frame_bytes = 4 * kDims;
  stack.targets = {bytes_of(targets), 4 * kClasses, 4, DType::kFloat32};
  stack.rap = {bytes_of(rap), 4, DType::kFloat32};
  stack.classes = kClasses;
  stack.rule = {LabelRule::kMean, false};
  stack.out_features = reinterpret_cast<std::byte*>(out_features.data());
  stack.out_targets = reinterpret_cast<std::byte*>(out_targets.data());
  stack.out_beta = out_beta.data();
  cpu::frame_stack(stack, runner);
  std::printf("frames\n");
  print("  frame_stack features", out_features);
  print("  frame_stack targets", out_targets);
  print("  frame_stack beta", out_beta);

  FrameStackGradient gradient{};
  gradient.plan = stack.plan;
  gradient.gradient = stack.features;
  gradient.dtype = DType::kFloat32;
  gradient.dims = kDims;
  gradient.beta = {bytes_of(out_beta), 4, DType::kFloat32};
  gradient.out = reinterpret_cast<std::byte*>(out_features.data());
  cpu::frame_stack_gradient(gradient, runner);
  print("  frame_stack_gradient", out_features);

  const Array<std::int64_t> offsets{0, kFrames, 2 * kFrames};
  Array<std::int64_t> videos(kSamples);
  for (std::int64_t& video : videos) video = random.below(2);
  Array<std::int64_t> picks(kSamples * 8);
  for (std::int64_t& pick : picks) pick = random.below(kFrames);
  FrameGather gather{};
  gather.store = bytes_of(features);
  gather.frame_stride = gather.frame_bytes = 4 * kDims;
  gather.dtype = DType::kFloat32;
  gather.frames = 2 * kFrames;
  gather.offsets = {bytes_of(offsets), 8, DType::kInt64};
  gather.num_videos = 2;
  gather.videos = {bytes_of(videos), 8, DType::kInt64};
  gather.picks = {bytes_of(picks), 64, 8, DType::kInt64};
  gather.samples = kSamples;
  gather.num_picks = 8;
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    Array<std::uint16_t> halves(kSamples * 8 * kDims);
    gather.out_dtype = dtype;
    gather.out = reinterpret_cast<std::byte*>(halves.data());
    cpu::gather_frames(gather, runner);
    print(dtype == DType::kFloat16 ? "  gather_frames to float16" : "  gather_frames to bfloat16", halves);
  }

  const Array<std::int64_t> lengths(kSamples, 150);
  Array<std::int64_t> drawn(kSamples * 60);
  FrameSample sample{};
  sample.lengths = {bytes_of(lengths), 8, DType::kInt64};
  sample.ids = {nullptr, 0, DType::kInt64};
  sample.samples = kSamples;
  sample.num_frames = 60;
  sample.mode = SampleMode::kDistinct;
  sample.seed = 3;
  sample.out = drawn.data();
  cpu::sample_frames(sample, runner);
  print("  sample_frames", drawn);

  Array<float> bounds(kClasses);
  for (float& bound : bounds) bound = static_cast<float>(1 + random.below(40)) / 3.0f;
  Array<std::uint8_t> masks(kSamples * 4 * kFrames);
  FrameMasks request{};
  request.targets = stack.targets;
  request.bounds = {bytes_of(bounds), 4, DType::kFloat32};
  request.classes = kClasses;
  request.ids = sample.ids;
  request.samples = kSamples;
  request.num_frames = kFrames;
  request.num_masks = 4;
  request.seed = 3;
  request.out = reinterpret_cast<std::byte*>(masks.data());
  cpu::dynamic_frame_masks(request, runner);
  print("  dynamic_frame_masks", masks);
}

Array<float> random_floats(test::Random& random, std::int64_t count) {
  Array<float> values(count);
  for (float& value : values) value = static_cast<float>(random.below(1 << 20)) * 0x1p-19f - 0.9f;
  return values;
}

void print_vlad() {
  constexpr std::int64_t kDims = 70;
  constexpr std::int64_t kClusters = 9;
  constexpr VladShape kShape{67, kDims, kClusters, true};
  test::Random random(6);
  cpu::Runner runner;
  runner.threads = 2;
  Array<float> vectors = random_floats(random, kShape.rows * kDims * kClusters);
  const Array<float> gradient = random_floats(random, vectors.count());
  const Array<float> mass = random_floats(random, kShape.rows * kClusters);
  const Array<float> centers = random_floats(random, kDims * kClusters);
  const Array<float> factors = random_floats(random, kDims * kClusters);
  Array<double> lengths(kShape.rows * kClusters);
  cpu::scale_vlad({kShape, vectors.data(), mass.data(), centers.data(), factors.data(), lengths.data()}, runner);
  std::printf("vlad\n");
  print("  scale_vlad", vectors);
  print("  scale_vlad lengths", lengths);

  Array<float> coefficients(kShape.rows * 3 * kClusters);
  Array<float> out(vectors.count());
  Array<float> out_mass(mass.count());
  Array<float> out_centers(centers.count());
  Array<float> out_factors(factors.count());
  cpu::scale_vlad_gradient(
      {kShape, vectors.data(), gradient.data(), mass.data(), centers.data(), factors.data(), lengths.data(),
       coefficients.data(), out.data(), out_mass.data(), out_centers.data(), out_factors.data()},
      runner);
  print("  scale_vlad_gradient", out);
  print("  gradient of mass", out_mass);
  print("  gradient of centers", out_centers);
  print("  gradient of factors", out_factors);

  // Whole numbers, because a processor with FMA rounds other products differently.
  constexpr std::int64_t kDepth = 2100;
  Array<float> a(kShape.rows * kDepth);
  Array<float> b(kDepth * kDims);
  for (float& value : a) value = static_cast<float>(random.below(19) - 9);
  for (float& value : b) value = static_cast<float>(random.below(19) - 9);
  Array<float> product(kShape.rows * kDims);
  cpu::multiply({kShape.rows, kDims, kDepth, {a.data(), kDepth, 1}, {b.data(), kDims, 1}, product.data()}, runner);
  print("  multiply", product);
}

void print_all() {
  test::Random random(1);
  Array<std::uint8_t> values(kRows * kClasses);
  for (std::int64_t i = 0; i < values.count(); ++i) values[i] = random.below(1000) < 20 * (i % kClasses % 9);
  Matrix labels;
  labels.dtype = DType::kUInt8;
  labels.cols = kClasses;
  labels.append(bytes_of(values), kRows, kClasses, 1);
  const cpu::OwnedPositives positives = cpu::find_positives(labels, cpu::Runner{});
  print("positives", Array<std::uint32_t>(positives.rows.begin(), positives.rows.end()));
  print_evaluation<float>("float32", DType::kFloat32, positives);
  print_evaluation<double>("float64", DType::kFloat64, positives);
  print_evaluation<Float16>("float16", DType::kFloat16, positives);
  print_evaluation<std::int64_t>("int64", DType::kInt64, positives);
  print_frames();
  print_vlad();
}

}  // namespace
}  // namespace vltr

int main() { vltr::print_all(); }
