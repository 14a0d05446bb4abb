// The colours of compared systems.

/** The colour of a system's curves; the baseline of a comparison is grey. */
export function systemColour(model, index) {
  if (!model.comparison) return "--accent";
  return index === 0 ? "--no-group" : `--group-${(index - 1) % 8}`;
}
