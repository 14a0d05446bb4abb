// Paths of lines, steps and areas.

/**
 * Return the path through points; null breaks the line.
 * @param {([number, number] | null)[]} points
 * @param {{isStep?: boolean}} [options] isStep: whether a value holds up to the next point.
 */
export function linePath(points, { isStep = false } = {}) {
  let path = "";
  let isOpen = false;
  for (const point of points) {
    if (!point) {
      isOpen = false;
      continue;
    }
    const [x, y] = point.map((value) => value.toFixed(2));
    if (!isOpen) path += `M${x},${y}`;
    else path += isStep ? `H${x}V${y}` : `L${x},${y}`;
    isOpen = true;
  }
  return path;
}

/**
 * Return the path of the area between two lines.
 * @param {[number, number][]} upper
 * @param {[number, number][]} lower
 */
export function areaPath(upper, lower) {
  return `${linePath(upper)}${linePath(lower.slice().reverse()).replace("M", "L")}Z`;
}
