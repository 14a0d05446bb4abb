// FrameStack of a batch, with betas from labels: gigabytes of output features per second.
#include "bench/bench.hpp"
#include "core/span.hpp"
#include "cpu/frames.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  constexpr std::int64_t kSamples = 128;
  constexpr std::uint32_t kFrames = 60;
  constexpr std::int64_t kDims = 2048;
  constexpr std::int64_t kClasses = 1004;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  const Array<std::uint16_t> features(kSamples * kFrames * kDims, 0x3C00);
  Array<std::uint16_t> out_features(kSamples * kFrames * kDims);
  const std::vector<std::uint32_t> words = bench::random_words(kSamples * kClasses);
  Array<float> targets(kSamples * kClasses);
  for (std::int64_t i = 0; i < targets.count(); ++i) targets[i] = words[static_cast<std::size_t>(i)] % 500 == 0 ? 1 : 0;
  Array<float> out_targets(kSamples * kClasses);
  Array<float> rap(kClasses);
  for (std::int64_t c = 0; c < kClasses; ++c) rap[c] = static_cast<float>(c) / kClasses;
  Array<std::int64_t> partner(kSamples);
  for (std::int64_t i = 0; i < kSamples; ++i) partner[i] = kSamples - 1 - i;
  Array<float> out_beta(kSamples);
  const auto bytes = [](const auto& array) { return reinterpret_cast<const std::byte*>(array.data()); };
  FrameStack request{};
  request.plan = {kSamples, kSamples, kFrames, kFrames, {bytes(partner), 8, DType::kInt64}, false};
  request.features = {bytes(features), 2 * kFrames * kDims, 2 * kDims};
  request.dtype = DType::kFloat16;
  request.frame_bytes = 2 * kDims;
  request.targets = {bytes(targets), 4 * kClasses, 4, DType::kFloat32};
  request.rap = {bytes(rap), 4, DType::kFloat32};
  request.classes = kClasses;
  request.rule = {LabelRule::kMean, false};
  request.out_features = reinterpret_cast<std::byte*>(out_features.data());
  request.out_targets = reinterpret_cast<std::byte*>(out_targets.data());
  request.out_beta = out_beta.data();
  const double seconds = bench::median_seconds([&] { cpu::frame_stack(request, runner); });
  bench::print("frame_stack", "128 x 60 x 2048 float16, 1004 classes", runner,
               static_cast<double>(2 * kSamples * kFrames * kDims) / seconds / 1e9, "GB/s");
}
