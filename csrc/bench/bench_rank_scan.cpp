// The rank scan: nanoseconds per cell of the score matrix.
#include "bench/matrices.hpp"
#include "cpu/rank_scan.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  const bench::Matrices matrices;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  const cpu::OwnedPositives positives = cpu::find_positives(matrices.labels, runner);
  const double seconds = bench::median_seconds([&] { cpu::rank_scan(matrices.scores, positives, {}, runner); });
  bench::print("rank_scan", bench::kShape, runner, seconds * 1e9 / (bench::kRows * bench::kClasses), "ns/cell");
}
