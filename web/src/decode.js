// Arrays in base64, little endian. Single classes are decoded when they are shown.

const KINDS = {
  i4: [4, Int32Array],
  u4: [4, Uint32Array],
  u2: [2, Uint16Array],
  f4: [4, Float32Array],
  f8: [8, Float64Array],
};

/**
 * Decode the elements `begin` to `end` of an array.
 * @param {string} text The array in base64.
 * @param {"i4" | "u4" | "u2" | "f4" | "f8"} kind
 * @param {number} begin
 * @param {number} end
 */
export function decodeRange(text, kind, begin, end) {
  const [size, Type] = KINDS[kind];
  const first = begin * size;
  const length = (end - begin) * size;
  const group = Math.floor(first / 3); // four characters hold three bytes
  const binary = atob(text.slice(group * 4, Math.ceil((first + length) / 3) * 4));
  const bytes = new Uint8Array(length);
  const skipped = first - group * 3;
  for (let i = 0; i < length; i++) bytes[i] = binary.charCodeAt(i + skipped);
  return new Type(bytes.buffer);
}

/** Decode a whole array. */
export function decodeAll(text, kind) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return decodeRange(text, kind, 0, ((text.length / 4) * 3 - padding) / KINDS[kind][0]);
}
