// The choices that all views share, and who is to redraw when one changes.

/**
 * @typedef {object} State
 * @property {string} partition The partition by which classes are coloured.
 * @property {number} group The index of the only group shown, -1 for all classes.
 * @property {number} selected The class of the open panel, -1 for none.
 */

/** @type {State} */
export const state = { partition: "", group: -1, selected: -1 };

/** @type {Set<(changed: Set<string>) => void>} */
const listeners = new Set();

/** Call a function with the names of the changed choices whenever `update` changes any. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Change choices. @param {Partial<State>} changes */
export function update(changes) {
  const changed = new Set(Object.keys(changes).filter((key) => state[key] !== changes[key]));
  if (!changed.size) return;
  Object.assign(state, changes);
  for (const listener of [...listeners]) listener(changed);
}
