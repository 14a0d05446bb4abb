// The thresholds of a class as a static 16-ary search tree (a B+ tree without pointers).
//
// The leaf level is the ascending thresholds, padded to whole nodes of 16 with unreachable keys. Each level above holds
// the first key of every node below it, until one node is left. Levels are stored from the root down. The search for a
// score reads one node per level and descends to child (number of keys <= score) - 1. The score must reach the lowest
// threshold. So 16 thresholds cost one node, 256 two and 65,536 four, for any values.
//
// Bucket of a score, if `at` is the highest threshold that it reaches (0 = lowest): 2 * at if it equals the threshold,
// 2 * at + 1 if it is above.
#pragma once

#include "core/element.hpp"

namespace vltr {

constexpr int kNodeKeys = 16;

VLTR_HD std::int64_t nodes_for(std::int64_t keys) { return (keys + kNodeKeys - 1) / kNodeKeys; }

VLTR_HD int tree_levels(std::int64_t keys) {
  int levels = keys == 0 ? 0 : 1;
  for (std::int64_t nodes = nodes_for(keys); nodes > 1; nodes = nodes_for(nodes)) ++levels;
  return levels;
}

VLTR_HD std::int64_t tree_nodes(std::int64_t keys) {
  std::int64_t total = nodes_for(keys);
  for (std::int64_t nodes = total; nodes > 1;) total += nodes = nodes_for(nodes);
  return total;
}

// Writes the tree of ascending distinct `keys` (count > 0) into `tree`, an array of tree_nodes(count) * 16 lanes.
template <class Lane>
VLTR_HD void build_tree(const Lane* keys, std::int64_t count, Lane* tree) {
  Lane* level = tree + (tree_nodes(count) - nodes_for(count)) * kNodeKeys;
  for (std::int64_t i = 0; i < nodes_for(count) * kNodeKeys; ++i) level[i] = i < count ? keys[i] : unreachable<Lane>();
  for (std::int64_t nodes = nodes_for(count); nodes > 1; nodes = nodes_for(nodes)) {
    Lane* parent = level - nodes_for(nodes) * kNodeKeys;
    for (std::int64_t i = 0; i < nodes_for(nodes) * kNodeKeys; ++i) {
      parent[i] = i < nodes ? level[i * kNodeKeys] : unreachable<Lane>();
    }
    level = parent;
  }
}

}  // namespace vltr
