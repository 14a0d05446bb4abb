// Finding the positives of a label matrix: gigabytes of labels per second.
#include "bench/matrices.hpp"
#include "cpu/positives.hpp"

namespace vltr::bench {
namespace {

void bench_shape(const char* shape, std::int64_t rows, std::int64_t classes, double share, const cpu::Runner& runner) {
  const auto bound = static_cast<std::uint32_t>(share * 0x1p32);
  Array<std::uint8_t> values(rows * classes);
  std::mt19937 engine(7);
  for (std::uint8_t& value : values) value = static_cast<std::uint32_t>(engine()) < bound;
  Matrix labels;
  labels.dtype = DType::kUInt8;
  labels.cols = classes;
  labels.append(reinterpret_cast<const std::byte*>(values.data()), rows, classes, 1);
  const double seconds = median_seconds([&] { cpu::find_positives(labels, runner); });
  print("find_positives", shape, runner, static_cast<double>(rows * classes) / seconds / 1e9, "GB/s");
}

}  // namespace
}  // namespace vltr::bench

int main(int argc, char** argv) {
  using namespace vltr;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  bench::bench_shape("16384 x 1000 uint8, 1 % positives", bench::kRows, bench::kClasses, 0.01, runner);
  bench::bench_shape("51239 x 1004 uint8, 0.1 % positives", 51239, 1004, 0.0011, runner);
  bench::bench_shape("1000000 x 100 uint8, 10 % positives", 1000000, 100, 0.1, runner);
  bench::bench_shape("10000000 x 1 uint8, 50 % positives", 10000000, 1, 0.5, runner);
}
