// Finding the positives of a label matrix: gigabytes of labels per second.
#include "bench/matrices.hpp"
#include "cpu/positives.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  const bench::Matrices matrices;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  const double seconds = bench::median_seconds([&] { cpu::find_positives(matrices.labels, runner); });
  bench::print("find_positives", "16384 x 1000 uint8, 1 % positives", runner,
               bench::kRows * bench::kClasses / seconds / 1e9, "GB/s");
}
