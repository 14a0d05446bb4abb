// Gathering frames from a flat store: gigabytes of output per second.
#include "bench/bench.hpp"
#include "core/span.hpp"
#include "cpu/frames.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  constexpr std::int64_t kVideos = 256;
  constexpr std::int64_t kFrames = 150;
  constexpr std::int64_t kSamples = 64;
  constexpr std::int64_t kPicks = 60;
  constexpr std::int64_t kDims = 2048;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  const Array<std::uint16_t> store(kVideos * kFrames * kDims, 0x3C00);
  Array<float> out(kSamples * kPicks * kDims);
  Array<std::int64_t> offsets(kVideos + 1);
  for (std::int64_t v = 0; v <= kVideos; ++v) offsets[v] = v * kFrames;
  const std::vector<std::uint32_t> words = bench::random_words(kSamples * kPicks);
  Array<std::int64_t> videos(words.begin(), words.begin() + kSamples);
  Array<std::int64_t> picks(words.begin(), words.end());
  for (std::int64_t& video : videos) video %= kVideos;
  for (std::int64_t& pick : picks) pick %= kFrames;
  const auto bytes = [](const auto& array) { return reinterpret_cast<const std::byte*>(array.data()); };
  FrameGather request{};
  request.store = bytes(store);
  request.frame_stride = request.frame_bytes = 2 * kDims;
  request.dtype = DType::kFloat16;
  request.frames = kVideos * kFrames;
  request.offsets = {bytes(offsets), 8, DType::kInt64};
  request.num_videos = kVideos;
  request.videos = {bytes(videos), 8, DType::kInt64};
  request.picks = {bytes(picks), 8 * kPicks, 8, DType::kInt64};
  request.samples = kSamples;
  request.num_picks = kPicks;
  request.out_dtype = DType::kFloat32;
  request.out = reinterpret_cast<std::byte*>(out.data());
  const double seconds = bench::median_seconds([&] { cpu::gather_frames(request, runner); });
  bench::print("gather_frames", "64 x 60 x 2048, float16 to float32", runner,
               static_cast<double>(4 * kSamples * kPicks * kDims) / seconds / 1e9, "GB/s");
}
