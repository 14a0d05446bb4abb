// The search of single scores among the thresholds of their classes: nanoseconds per score.
#include "bench/matrices.hpp"
#include "cpu/count_reached.hpp"
#include "cpu/rank_scan.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  constexpr std::int64_t kCells = std::int64_t{1} << 20;
  const bench::Matrices matrices;
  const cpu::Runner runner = bench::runner_of(argc, argv);
  const cpu::OwnedPositives positives = cpu::find_positives(matrices.labels, runner);
  const RankTable thresholds = cpu::positive_scores(matrices.scores, positives, runner);
  std::vector<std::uint32_t> rows = bench::random_words(kCells);
  std::vector<std::uint32_t> classes = rows;
  for (std::uint32_t& row : rows) row = row >> 8 & (bench::kRows - 1);
  for (std::uint32_t& cls : classes) cls %= bench::kClasses;
  const Cells cells{rows.data(), classes.data(), kCells};
  const double seconds = bench::median_seconds([&] { cpu::count_reached(matrices.scores, cells, thresholds, runner); });
  bench::print("count_reached", "2^20 cells of 16384 x 1000 float32", runner, seconds * 1e9 / kCells, "ns/cell");
}
